"""Local case-control sampling: keep what the live version finds surprising, and correct the logit for it."""

from dataclasses import replace

import numpy as np

from scorer.importance.running import BudgetedInclusion
from scorer.importance.strategy import Importance, ScoredRows, importance, sigmoid


class LocalCaseControl:
    """pi = a(y), a(y) = min(1, c * ((1 - eps) * |y - p| / m + eps)), logit offset log(a(1) / a(0)), w = 1.

    Given that it was kept, a row is a click with logit q + log(a(1) / a(0)), which is what the loss sees; raw z learns
    logit q: unbiased, and free of large weights (Fithian and Hastie 2014, arXiv:1306.3706; the pilot p is the live
    version). c is the budget and m is followed so that the mean of pi is the budget; while no row is cut at 1, m is
    the running mean of |y - p|.

    Args:
        budget: Expected share of rows that are learned.
    """

    name = "lcc_offset"

    def __init__(self, budget: float) -> None:
        self._inclusion = BudgetedInclusion(budget)

    def weigh(self, rows: ScoredRows) -> Importance:
        """Return what the rows teach."""
        p = sigmoid(rows.z)
        surprise = np.abs(rows.label - p)
        self._inclusion.begin(surprise)
        mean = self._inclusion.normaliser.value
        as_click, as_pass = self._inclusion.inclusion(1 - p), self._inclusion.inclusion(p)
        pi = np.where(rows.label > 0, as_click, as_pass)
        self._inclusion.follow(pi)
        return replace(
            importance(self.name, pi),
            logit_offset=np.log(as_click / as_pass),
            mean_score=mean,
            variance_ratio=self._inclusion.variance_ratio.value,
        )
