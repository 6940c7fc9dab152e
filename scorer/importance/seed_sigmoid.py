"""The seed strategy: weigh a row by its own click probability."""

from dataclasses import replace

import numpy as np

from scorer.importance.running import RunningMean
from scorer.importance.strategy import Importance, ScoredRows, importance, sigmoid


class SeedSigmoid:
    """pi = budget, w = sigmoid(z) / running mean of sigmoid(z), clipped to [0.1, 10].

    The weight depends on the impression alone, not on its label, so the learned probability stays calibrated; what
    changes is where the model spends its capacity. It looks away from surprising clicks (a click with p = 0.01 weighs
    a tenth of the mean or less), so it is slow to follow a drift.

    Args:
        budget: Expected share of rows that are learned.
    """

    name = "seed_sigmoid"

    def __init__(self, budget: float) -> None:
        self._budget = budget
        self._mean_sigmoid = RunningMean()

    def weigh(self, rows: ScoredRows) -> Importance:
        """Return what the rows teach."""
        p = sigmoid(rows.z)
        mean = self._mean_sigmoid.before(p)
        return replace(importance(self.name, np.full_like(p, self._budget)), factor=p / mean, mean_sigmoid=mean)
