"""Importance sampling by the norm of the last layer's gradient: the default."""

import numpy as np

from scorer.importance.running import RunningMean
from scorer.importance.strategy import Doubles, Importance, ScoredRows, State, importance, sigmoid

UNIFORM_SHARE = 0.2
"""eps: the part of the budget that is spent without looking; it bounds the weight at 1 / eps."""

_SMALLEST_MEAN = 1e-12


class GradientNormSampling:
    """pi = min(1, budget * ((1 - eps) * s / m + eps)), s = |p - y| * sqrt(||h||^2 + 1), w = budget / pi.

    s is the norm of the gradient of the log loss by the head's weights, in closed form from the forward pass that
    scored the row. Sampling in proportion to it has the least variance of all unbiased sampling at a budget
    (Katharopoulos & Fleuret 2018, arXiv:1803.00942; Poisson sampling, so rows are kept independently). Unbiased
    whatever the scores are, since E[kept * w] = budget for every row.

    m is the running mean of s, kept so that the mean of pi is the budget: were it the plain mean, the rows cut at
    pi = 1 would leave budget unspent (and the mean weight below 1). It is the stochastic approximation
    m += rate * m * (mean(pi) / budget - 1) / (1 - eps), which is exactly the exponential running mean of s as long as
    no row is cut.

    Args:
        budget: Expected share of rows that are learned.
    """

    name = "gradnorm_is"

    def __init__(self, budget: float) -> None:
        self._budget = budget
        self._mean_score = RunningMean()

    def weigh(self, rows: ScoredRows) -> Importance:
        """Return what the rows teach."""
        score = np.abs(sigmoid(rows.z) - rows.label) * np.sqrt(rows.hidden_norm**2 + 1)
        if not self._mean_score.count:
            self._start(score)
        mean = self._mean_score.value
        pi = self._inclusion(score, mean)
        self._follow(pi)
        return importance(self.name, pi, sampling_correction=self._budget / pi, mean_score=mean)

    def snapshot(self) -> State:
        """Return the running mean and the rows behind it."""
        return {"mean_score": self._mean_score.value, "count": self._mean_score.count}

    def restore(self, state: State) -> None:
        """Continue from a snapshot."""
        self._mean_score.value = state["mean_score"]
        self._mean_score.count = state["count"]

    def _inclusion(self, score: Doubles, mean: float) -> Doubles:
        return np.minimum(1.0, self._budget * ((1 - UNIFORM_SHARE) * score / mean + UNIFORM_SHARE))

    def _start(self, score: Doubles) -> None:
        """Solve mean(pi) = budget on the first rows alone, by the same iteration."""
        self._mean_score.value = max(float(score.mean()), _SMALLEST_MEAN) if len(score) else 0.0
        for _ in range(50):
            self._move(1.0, self._inclusion(score, self._mean_score.value))

    def _follow(self, pi: Doubles) -> None:
        self._move(self._mean_score.rate(len(pi)), pi)

    def _move(self, rate: float, pi: Doubles) -> None:
        excess = float(pi.mean()) / self._budget - 1
        moved = self._mean_score.value * (1 + rate * excess / (1 - UNIFORM_SHARE))
        self._mean_score.value = max(moved, _SMALLEST_MEAN)
