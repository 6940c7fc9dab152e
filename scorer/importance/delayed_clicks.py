"""Fake-negative weighting: labels that are sent before their click can have come."""

import numpy as np

from scorer.importance.strategy import Importance, ScoredRows, importance, sigmoid


class FakeNegativeWeighting:
    """pi = budget, w = 1 + p for a click and (1 - p) * (1 + p) for a non-click.

    For the label join's early-negative mode (MILLSTREAM_JOIN_EARLY_NEGATIVE), in which every impression comes as a
    non-click at once and every click comes again as a positive (revision 1): the weights undo the fake negatives, and
    z learns logit q (Ktena et al. 2019, arXiv:1907.06558). With the usual labels, of which none is fake, p would
    become q / (1 - q): choose it together with that mode only.

    Args:
        budget: Expected share of rows that are learned.
    """

    name = "delay_fnw"

    def __init__(self, budget: float) -> None:
        self._budget = budget

    def weigh(self, rows: ScoredRows) -> Importance:
        """Return what the rows teach."""
        p = sigmoid(rows.z)
        factor = np.where(rows.label > 0, 1 + p, (1 - p) * (1 + p))
        return importance(self.name, np.full_like(p, self._budget), factor=factor)
