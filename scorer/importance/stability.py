"""How far the importance of the same labeled rows moved between two rounds of learning.

A score that ranks rows differently after every update selects noise. Stability alone proves nothing, the constant score
is perfectly stable; it is read beside the benefit that the selection brings.
"""

from dataclasses import dataclass

import numpy as np
from scipy.stats import spearmanr

from scorer.importance.strategy import Doubles

TOP_SHARE = 0.1
"""Part of the rows that counts as the most important ones."""


@dataclass(frozen=True, slots=True)
class Stability:
    """Agreement of two rounds of importance scores of the same rows.

    Attributes:
        spearman: Rank correlation over all rows; flattering, since the label alone drives most of a score.
        spearman_clicked: The same among clicked rows.
        spearman_not_clicked: The same among the others.
        top_overlap: Share of the most important tenth that both rounds agree on, 0 to 1.
        total_variation: Share of the weight that moved to other rows, 0 to 1.
    """

    spearman: float
    spearman_clicked: float
    spearman_not_clicked: float
    top_overlap: float
    total_variation: float


def stability(before: Doubles, after: Doubles, label: Doubles) -> Stability:
    """Return how well two rounds agree on the importance of the same rows.

    Args:
        before: Scores of the earlier round, at least 0, shape [N].
        after: Scores of the same rows in the later round, shape [N].
        label: 1 for clicked, 0 for not, shape [N].

    Raises:
        ValueError: the shapes differ.
    """
    if not before.shape == after.shape == label.shape:
        message = f"scores have shapes {before.shape} and {after.shape}, labels {label.shape}; give one a row to each"
        raise ValueError(message)
    clicked = label == 1
    return Stability(
        spearman=spearman(before, after),
        spearman_clicked=spearman(before[clicked], after[clicked]),
        spearman_not_clicked=spearman(before[~clicked], after[~clicked]),
        top_overlap=top_overlap(before, after),
        total_variation=total_variation(before, after),
    )


def spearman(before: Doubles, after: Doubles) -> float:
    """Return the rank correlation, ties at the mean of their ranks (Spearman 1904); NaN where a side does not vary."""
    if len(before) < 2 or min(np.ptp(before), np.ptp(after)) == 0:
        return float("nan")
    return float(spearmanr(before, after).statistic)


def top_overlap(before: Doubles, after: Doubles, share: float = TOP_SHARE) -> float:
    """Return the part of the highest rows that both rounds have in common; NaN for no rows.

    Rows tied at the edge share the places that are left, so that equal scores overlap fully.
    """
    if len(before) == 0:
        return float("nan")
    num_top = max(1, round(share * len(before)))
    return float(np.minimum(_membership(before, num_top), _membership(after, num_top)).sum()) / num_top


def total_variation(before: Doubles, after: Doubles) -> float:
    """Return sum |v - w| / 2 of the two rounds' weights, each normalised to sum 1; NaN where one sums to 0."""
    if min(before.sum(), after.sum()) <= 0:
        return float("nan")
    return float(np.abs(before / before.sum() - after / after.sum()).sum()) / 2


def _membership(score: Doubles, num_top: int) -> Doubles:
    """Return how much each row belongs to the highest `num_top`: 1, 0, or a part for rows tied at the edge."""
    edge = np.partition(score, -num_top)[-num_top]
    above, tied = score > edge, score == edge
    return np.asarray(above + tied * ((num_top - above.sum()) / tied.sum()), dtype=np.float64)
