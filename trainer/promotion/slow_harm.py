"""Slow harm: what serves against the frozen version, over far more rows than a judgement has.

Each version may be within noise of the one before while all of them drift away together, which the gate's test against
the live version cannot see. So the rows that both live and frozen version scored are compared update by update, over a
long horizon. Ranking and probabilities may disagree, and both are served: sure harm in either is harm.
"""

import math
from collections import deque
from typing import Literal

import numpy as np
import numpy.typing as npt

from scorer.measures.compared import Compared

Doubles = npt.NDArray[np.float64]
Harm = Literal["auc", "log_loss"]

HORIZON_UPDATES = 200
LEAST_UPDATES = 16
"""Fewer give no standard error that one may believe."""

SURE = 3.0
"""Standard errors between a mean and zero. The test is repeated at every update, so two would often be exceeded."""


class SlowHarm:
    """The comparisons of the last updates; an update takes four numbers."""

    def __init__(self) -> None:
        self._updates: deque[Compared] = deque(maxlen=HORIZON_UPDATES)

    def note(self, update: Compared) -> None:
        """Take the rows of one more update; those without a row say nothing."""
        if update.num_rows:
            self._updates.append(update)

    def found(self) -> Harm | None:
        """Return in what the live versions of the horizon are surely worse than the frozen one; None: in nothing."""
        table = self.snapshot()
        rows, pairs, by_auc, by_log_loss = table.T
        if _standard_errors(-by_auc, pairs) > SURE:
            return "auc"
        return "log_loss" if _standard_errors(by_log_loss, rows) > SURE else None

    def forget(self) -> None:
        """Begin anew: what was compared no longer serves."""
        self._updates.clear()

    def snapshot(self) -> Doubles:
        """Return the comparisons as `restore` takes them, shape [updates, 4]."""
        rows = [(one.num_rows, one.num_pairs, one.auc, one.log_loss) for one in self._updates]
        return np.array(rows, dtype=np.float64).reshape(-1, 4)

    def restore(self, table: Doubles) -> None:
        """Take over comparisons."""
        self.forget()
        for rows, pairs, by_auc, by_log_loss in table.tolist():
            self.note(Compared(int(rows), int(pairs), by_auc, by_log_loss))


def _standard_errors(value: Doubles, weight: Doubles) -> float:
    """Return by how many of its standard errors the weighted mean of a series is above zero.

    Neighbours are alike: the same version served them. So their covariances count, with Bartlett's weights (Newey and
    West 1987).
    """
    value, weight = value[weight > 0], weight[weight > 0]
    if len(value) < LEAST_UPDATES:
        return 0.0
    mean = float(np.average(value, weights=weight))
    apart = weight * (value - mean)
    num_lags = math.ceil(len(value) ** (1 / 3))
    variance = float(apart @ apart)
    for lag in range(1, num_lags + 1):
        variance += 2 * (1 - lag / (num_lags + 1)) * float(apart[lag:] @ apart[:-lag])
    if variance <= 0:
        return 0.0
    return mean * float(weight.sum()) / math.sqrt(variance)
