"""Top loss: learn only the hardest rows. For comparison: it is biased, and follows label noise."""

import math

import numpy as np

from scorer.importance.running import HORIZON, SMALLEST_MEAN, RunningMean
from scorer.importance.strategy import Importance, ScoredRows, importance

STEP = 8.0
"""How fast the threshold follows, as a change of log loss per horizon of rows and unit of excess share."""


class TopLoss:
    """pi = 1 for a loss at or above the running threshold and 0 below it, w = 1, no correction.

    The threshold is the quantile that leaves the budget above it, followed over thousands of rows: each call multiplies
    it with exp(8 * rate * (mean(pi) - budget + d)) (Robbins and Monro 1951); a quantile inside a micro-batch would
    depend on its size. d, the rows learned beyond the budget so far per horizon of rows, repays what a threshold on its
    way after the losses spends too much or too little. Biased: where the score says nothing and q < budget / 2, every
    click is kept and z learns logit(q / budget); false clicks have the highest loss of all. Selective-Backprop (Jiang
    et al. 2019, arXiv:1910.00762) is its random form.

    Args:
        budget: Share of rows that are learned.
    """

    name = "topk_loss"

    def __init__(self, budget: float) -> None:
        self._budget = budget
        self._threshold = RunningMean()
        self._overspent_rows = 0.0

    def weigh(self, rows: ScoredRows) -> Importance:
        """Return what the rows teach."""
        loss = np.logaddexp(0.0, np.where(rows.label > 0, -rows.z, rows.z))
        if not self._threshold.count:
            self._threshold.value = float(np.quantile(loss, 1 - self._budget))
        pi = np.where(loss >= self._threshold.value, 1.0, 0.0)
        excess = float(pi.mean()) - self._budget
        self._overspent_rows += excess * len(rows)
        step = STEP * self._threshold.rate(len(rows))
        moved = self._threshold.value * math.exp(step * (excess + self._overspent_rows / HORIZON))
        self._threshold.value = max(moved, SMALLEST_MEAN)
        return importance(self.name, pi)
