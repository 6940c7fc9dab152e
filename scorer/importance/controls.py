"""Controls: strategies that look at nothing. They are what the others must beat."""

import numpy as np

from scorer.importance.strategy import Importance, ScoredRows, importance


class FixedShare:
    """Every row is learned with the same probability and weight 1.

    pi = share, w = 1. Unbiased; the gradient's variance is that of a smaller sample. `full` (share 1) is the most that
    can be learned, `uniform` (share = budget) the baseline at equal cost, `no_update` (share 0) a model left alone.

    Args:
        name: full, uniform or no_update.
        share: pi of every row.
    """

    def __init__(self, name: str, share: float) -> None:
        self.name = name
        self._share = share

    def weigh(self, rows: ScoredRows) -> Importance:
        """Return the same for every row."""
        return importance(self.name, np.full(len(rows), self._share))
