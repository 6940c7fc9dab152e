"""Effective sample size, and the watch that replaces a strategy by `uniform` while selecting rows cannot pay."""

from typing import Literal, get_args

import numpy as np

from scorer.importance.controls import FixedShare
from scorer.importance.running import RunningMean
from scorer.importance.strategy import Doubles, Importance, ScoredRows, Strategy

MIN_SHARE = 0.3
"""Below this effective share a few heavy rows decide what is learned."""

MIN_RATIO = 1.2
"""Variance ratio below which `uniform` takes over. Scoring costs nothing more, since evaluation needs it, so in theory
anything above 1 pays; the margin is for the uniform floor of pi and for scores that are some updates old."""

RESUME_RATIO = 1.25
"""Variance ratio from which the strategy is trusted again: higher, so that noise does not make it change hands."""

MIN_ROWS = 2000.0
"""Rows that are weighed before the effective share or the variance ratio is believed."""

FallbackReason = Literal["ess", "variance"]
"""Why rows are weighed by `uniform`: the weights' effective sample collapsed, or the scores are too much alike."""

FALLBACK_REASONS: tuple[FallbackReason, ...] = get_args(FallbackReason)


def effective_sample_size(weight: Doubles) -> float:
    """Return (sum w)^2 / sum w^2 (Kish 1965): how many equal rows say as much as these weighted ones; 0 for none."""
    largest = float(np.abs(weight).max(initial=0.0))
    if largest == 0.0:
        return 0.0
    # Relative to the largest, so that no square over- or underflows.
    share = weight / largest
    return float(share.sum()) ** 2 / float((share**2).sum())


class WatchedStrategy:
    """A strategy that is replaced by `uniform` while its weights harm or its selection cannot pay.

    ess: the effective share of its learned rows is below MIN_SHARE. The share is ESS / n over a running window of rows,
    each counted with its probability pi of being learned, so that it needs no knowledge of who was drawn:
    (sum pi w)^2 / (sum pi * sum pi w^2).

    variance: the variance ratio of the score it selects by fell below MIN_RATIO, and has not come back to RESUME_RATIO
    since.

    The strategy goes on weighing unseen while it is replaced, and takes over again when what was wrong has passed.

    Args:
        strategy: Whose weights are watched.
        budget: Share that `uniform` learns.

    Attributes:
        name: That of the strategy.
        variance_ratio: Uniform sampling's variance over the strategy's; None where it does not select by a score.
        num_replaced: Rows that `uniform` weighed instead, by reason.
        reason: Why `uniform` last replaced it; None before it ever did.
    """

    def __init__(self, strategy: Strategy, budget: float) -> None:
        self.name = strategy.name
        self.variance_ratio: float | None = None
        self.num_replaced: dict[FallbackReason, int] = dict.fromkeys(FALLBACK_REASONS, 0)
        self.reason: FallbackReason | None = None
        self._strategy = strategy
        self._uniform = FixedShare("uniform", budget)
        self._learned = RunningMean()
        self._weight = RunningMean()
        self._weight_squared = RunningMean()
        self._cannot_pay = False

    @property
    def effective_share(self) -> float:
        """ESS / n of the learned rows in the window; 1 while there is none."""
        spread = self._learned.value * self._weight_squared.value
        return self._weight.value**2 / spread if spread > 0 else 1.0

    def weigh(self, rows: ScoredRows) -> Importance:
        """Return what the rows teach, by the strategy or by its replacement."""
        taught = self._strategy.weigh(rows)
        self.variance_ratio = taught.variance_ratio
        pi, weight = taught.inclusion_probability, taught.importance_weight
        self._learned.update(pi)
        self._weight.update(pi * weight)
        self._weight_squared.update(pi * weight**2)
        trouble = self._trouble()
        if trouble is None:
            return taught
        self.reason = trouble
        self.num_replaced[trouble] += len(rows)
        return self._uniform.weigh(rows)

    def _trouble(self) -> FallbackReason | None:
        if self._learned.count < MIN_ROWS:
            return None
        if self.variance_ratio is not None:
            self._cannot_pay = self.variance_ratio < (RESUME_RATIO if self._cannot_pay else MIN_RATIO)
        if self.effective_share < MIN_SHARE:
            return "ess"
        return "variance" if self._cannot_pay else None
