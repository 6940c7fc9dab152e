"""What is counted of an arm: progressive validation by round, and the work it took.

Shape legend: N rows of a round, R rounds.
"""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from scorer.measures.auc import auc
from scorer.measures.log_loss import row_log_loss, sigmoid

Doubles = npt.NDArray[np.float64]


@dataclass
class Tally:
    """Sums over the rows of each round, every round scored by the one version that was live in it.

    Attributes:
        ordered: Pairs of a clicked and another row of the round that the scores put in order; ties count half.
        pairs: All such pairs; their ratio is the round's AUC.
        clean_ordered: The same, expected over labels drawn from the true probabilities.
        clean_pairs: All pairs of that kind.
        clicks: Clicked rows.
        loss: Sum of log losses.
        promised: Sum of p(click).
        forward_rows: Rows scored, once each by one model.
        backward_rows: Rows learned.
        steps: Optimizer steps.
        replaced: Rows that `uniform` weighed in the strategy's place.
        score_seconds: Processor time of scoring and weighing.
        learn_seconds: Processor time of learning.
    """

    ordered: list[float] = field(default_factory=list)
    pairs: list[float] = field(default_factory=list)
    clean_ordered: list[float] = field(default_factory=list)
    clean_pairs: list[float] = field(default_factory=list)
    clicks: list[int] = field(default_factory=list)
    loss: list[float] = field(default_factory=list)
    promised: list[float] = field(default_factory=list)
    rows: int = 0
    forward_rows: int = 0
    backward_rows: int = 0
    steps: int = 0
    replaced: int = 0
    score_seconds: float = 0.0
    learn_seconds: float = 0.0

    def add_round(self, z: Doubles, truth: Doubles, probability: Doubles) -> None:
        """Judge the scores of a round."""
        clicks = int(truth.sum())
        pairs = float(clicks * (len(truth) - clicks))
        self.rows += len(truth)
        self.clicks.append(clicks)
        self.pairs.append(pairs)
        self.ordered.append(auc(z, truth) * pairs if pairs else 0.0)
        self.loss.append(float(row_log_loss(z, truth).sum()))
        self.promised.append(float(sigmoid(z).sum()))
        clean = expected_pairs(z, probability)
        self.clean_ordered.append(clean[0])
        self.clean_pairs.append(clean[1])

    def as_dict(self) -> dict[str, Any]:
        """Return the tally as JSON takes it: six digits of a sum are plenty."""
        return {
            name: [round(item, 6) for item in value] if isinstance(value, list) else value
            for name, value in vars(self).items()
        }


def expected_pairs(z: Doubles, probability: Doubles) -> tuple[float, float]:
    """Return the expected ordered and all pairs when each row is clicked with its probability; (0, 0) if unknown."""
    if not len(z) or math.isnan(probability[0]):
        return 0.0, 0.0
    _, group_N = np.unique(z, return_inverse=True)
    click_G = np.bincount(group_N, weights=probability)
    other_G = np.bincount(group_N, weights=1 - probability)
    below_G = np.cumsum(other_G) - other_G
    # A row is no pair with itself; the few pairs inside a group of equal scores count half.
    itself = float((probability * (1 - probability)).sum())
    ordered = float((click_G * (below_G + other_G / 2)).sum()) - itself / 2
    return ordered, float(click_G.sum() * other_G.sum()) - itself
