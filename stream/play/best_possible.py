"""The AUC nobody can beat: that of the true click probability."""

from collections.abc import Sequence

import numpy as np


def best_possible_auc(click_probability: Sequence[float], label: Sequence[int]) -> float:
    """Return the probability that a clicked row had a higher true probability than one not clicked.

    Args:
        click_probability: True probabilities, shape [N]; ties count half.
        label: 1 clicked, 0 not, shape [N].

    Returns:
        The AUC; NaN when one of the classes is missing.
    """
    truth, clicked = np.asarray(click_probability, dtype=np.float64), np.asarray(label) == 1
    others = np.sort(truth[~clicked])
    if len(others) in {0, len(truth)}:
        return float("nan")
    below = np.searchsorted(others, truth[clicked], side="left") + np.searchsorted(others, truth[clicked], side="right")
    return float(below.mean() / 2 / len(others))
