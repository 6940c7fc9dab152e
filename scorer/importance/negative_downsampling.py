"""Negative downsampling with a logit offset: the baseline that a clever strategy must beat."""

import math
from dataclasses import replace

import numpy as np

from scorer.importance.controls import FixedShare
from scorer.importance.running import RunningMean
from scorer.importance.strategy import Importance, ScoredRows, importance

SMALLEST_RATE = 0.01
"""Below this rate hardly a non-click is left to compare clicks with, so rows are drawn uniformly instead."""


class NegativeDownsampling:
    """pi = 1 for a click and r for a non-click, logit offset -log r, w = 1, with r from q + (1 - q) * r = budget.

    Kept rows have click odds q / ((1 - q) * r), that is logit q - log r; the loss sees z - log r, so raw z learns
    logit q: unbiased (He et al. 2014, ADKDD, correct the probability afterwards; here the loss does). q is the running
    click rate of the rows before. Where it leaves no r of at least SMALLEST_RATE (clicks alone fill the budget) rows
    are drawn as by `uniform`, and say so.

    Args:
        budget: Expected share of rows that are learned.
    """

    name = "negdown_offset"

    def __init__(self, budget: float) -> None:
        self._budget = budget
        self._click_rate = RunningMean()
        self._uniform = FixedShare("uniform", budget)

    def weigh(self, rows: ScoredRows) -> Importance:
        """Return what the rows teach."""
        click_rate = self._click_rate.before(rows.label)
        rate = (self._budget - click_rate) / (1 - click_rate) if click_rate < 1 else 0.0
        if rate < SMALLEST_RATE:
            return self._uniform.weigh(rows)
        pi = np.where(rows.label > 0, 1.0, rate)
        return replace(importance(self.name, pi), logit_offset=np.full_like(pi, -math.log(rate)))
