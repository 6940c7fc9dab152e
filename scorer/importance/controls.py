"""Strategies that draw every row alike: the controls, which the others must beat, and those that only weigh."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from scorer.importance.strategy import Doubles, Importance, ScoredRows, importance


class FixedShare:
    """Every row is learned with the same probability, pi = share, and weight 1 or what a factor gives it.

    Without a factor it is a control, which looks at nothing: unbiased, with the gradient's variance of a smaller
    sample. `full` (share 1) is the most that can be learned, `uniform` (share = budget) the baseline at equal cost,
    `no_update` (share 0) a model left alone.

    Args:
        name: Name of the strategy.
        share: pi of every row.
        factor: Gives w of some rows; 1 when None.
    """

    def __init__(self, name: str, share: float, factor: Callable[[ScoredRows], Doubles] | None = None) -> None:
        self.name = name
        self._share = share
        self._factor = factor

    def weigh(self, rows: ScoredRows) -> Importance:
        """Return what the rows teach."""
        taught = importance(self.name, np.full(len(rows), self._share))
        return replace(taught, factor=self._factor(rows)) if self._factor else taught
