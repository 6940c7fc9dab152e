"""Exponential running means, over thousands of rows.

Normalising inside a micro-batch would bias what is learned (a 3 % click rate was learned as 6 to 8 %), so every
normaliser here remembers `HORIZON` rows.
"""

import numpy as np

from scorer.importance.strategy import Doubles

HORIZON = 2048.0
"""Rows an exponential mean remembers, once it has seen them."""

REMEMBERED_ROWS = 2 * int(HORIZON)
"""Rows that rebuild any mean here: their first half stands in for all that came before, 1/e of the mean."""

SMALLEST_MEAN = 1e-12
"""What a normaliser that is divided by never falls below."""


class RunningMean:
    """Mean of all rows until `horizon` of them were seen, then an exponential one over about as many.

    Attributes:
        value: The mean; meaningless while `count` is 0.
        count: Rows seen, at most the horizon.
    """

    def __init__(self, horizon: float = HORIZON) -> None:
        self.value = 0.0
        self.count = 0.0
        self._horizon = horizon

    def update(self, rows: Doubles) -> None:
        """Add rows."""
        if len(rows):
            self.value += self.rate(len(rows)) * (float(rows.mean()) - self.value)

    def rate(self, num_rows: int) -> float:
        """Count new rows and return their share of the mean."""
        self.count = min(self._horizon, self.count + num_rows)
        return min(1.0, num_rows / self.count)


class BudgetedInclusion:
    """pi = min(1, budget * ((1 - eps) * s / m + eps)) for a score s >= 0; m is followed so that mean(pi) is the budget.

    Were m the plain mean of s, the rows cut at pi = 1 would leave budget unspent. It is the stochastic approximation
    m += rate * m * (mean(pi) / budget - 1) / (1 - eps), which is exactly the running mean of s as long as no row is
    cut (Robbins and Monro 1951).

    Args:
        budget: What the mean of pi shall be.
        uniform_share: eps, the part of the budget that is spent without looking: no pi is below budget * eps.

    Attributes:
        normaliser: m, and the rows behind it.
    """

    def __init__(self, budget: float, uniform_share: float) -> None:
        self.normaliser = RunningMean()
        self._budget = budget
        self._uniform_share = uniform_share

    def begin(self, score: Doubles) -> None:
        """Solve mean(pi) = budget on the very first rows alone; later calls do nothing."""
        if self.normaliser.count:
            return
        self.normaliser.value = max(float(score.mean()), SMALLEST_MEAN)
        for _ in range(50):
            self._move(1.0, self.inclusion(score))

    def inclusion(self, score: Doubles) -> Doubles:
        """Return pi of rows with these scores."""
        relative = (1 - self._uniform_share) * score / self.normaliser.value + self._uniform_share
        return np.minimum(1.0, self._budget * relative)

    def follow(self, pi: Doubles) -> None:
        """Take the rows that were given these pi into m."""
        self._move(self.normaliser.rate(len(pi)), pi)

    def _move(self, rate: float, pi: Doubles) -> None:
        excess = float(pi.mean()) / self._budget - 1
        moved = self.normaliser.value * (1 + rate * excess / (1 - self._uniform_share))
        self.normaliser.value = max(moved, SMALLEST_MEAN)
