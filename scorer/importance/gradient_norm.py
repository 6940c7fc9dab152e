"""Importance sampling by the norm of the last layer's gradient: the default."""

from dataclasses import replace

import numpy as np

from scorer.importance.running import BudgetedInclusion
from scorer.importance.strategy import Doubles, Importance, ScoredRows, importance, sigmoid


def gradient_norm(z: Doubles, label: Doubles, hidden_norm: Doubles) -> Doubles:
    """Return s = |p - y| * sqrt(||h||^2 + 1) of every row.

    The L2 norm of the gradient of the log loss by the head's weights and bias, in closed form from a forward pass
    (Katharopoulos & Fleuret 2018, arXiv:1803.00942).

    Args:
        z: Logits.
        label: 1 for clicked, 0 for not.
        hidden_norm: L2 norms of the head's inputs.
    """
    return np.abs(sigmoid(z) - label) * np.sqrt(hidden_norm**2 + 1)


class GradientNormSampling:
    """pi = min(1, budget * ((1 - eps) * s / m + eps)), s = `gradient_norm`, w = budget / pi.

    Sampling in proportion to s has the least variance of all unbiased sampling at a budget (Katharopoulos & Fleuret
    2018, arXiv:1803.00942; Poisson sampling, so rows are kept independently). Unbiased whatever the scores are, since
    E[kept * w] = budget for every row. m is the running mean of s, corrected for rows that are cut at 1
    (`BudgetedInclusion`).

    Args:
        budget: Expected share of rows that are learned.
    """

    name = "gradnorm_is"

    def __init__(self, budget: float) -> None:
        self._budget = budget
        self._inclusion = BudgetedInclusion(budget)

    def weigh(self, rows: ScoredRows) -> Importance:
        """Return what the rows teach."""
        score = gradient_norm(rows.z, rows.label, rows.hidden_norm)
        self._inclusion.begin(score)
        mean = self._inclusion.normaliser.value
        pi = self._inclusion.inclusion(score)
        self._inclusion.follow(pi)
        return replace(
            importance(self.name, pi),
            sampling_correction=self._budget / pi,
            mean_score=mean,
            variance_ratio=self._inclusion.variance_ratio.value,
        )
