"""Local case-control sampling: keep what the live version finds surprising, and correct the logit for it."""

import numpy as np

from scorer.importance.running import BudgetedInclusion
from scorer.importance.strategy import Importance, ScoredRows, importance, sigmoid
from scorer.importance.variance_ratio import VarianceRatio

UNIFORM_SHARE = 0.2
"""eps: the part of the budget that is spent without looking; it bounds the offset at log(1 / (budget * eps))."""


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
        self._inclusion = BudgetedInclusion(budget, UNIFORM_SHARE)
        self._variance_ratio = VarianceRatio()

    @property
    def variance_ratio(self) -> float:
        """The variance ratio of |y - p|: near 1 all rows are as surprising, and uniform sampling does as well."""
        return self._variance_ratio.value

    def weigh(self, rows: ScoredRows) -> Importance:
        """Return what the rows teach."""
        p = sigmoid(rows.z)
        surprise = np.abs(rows.label - p)
        self._variance_ratio.update(surprise)
        self._inclusion.begin(surprise)
        mean = self._inclusion.normaliser.value
        as_click, as_pass = self._inclusion.inclusion(1 - p), self._inclusion.inclusion(p)
        pi = np.where(rows.label > 0, as_click, as_pass)
        self._inclusion.follow(pi)
        return importance(self.name, pi, logit_offset=np.log(as_click / as_pass), mean_score=mean)
