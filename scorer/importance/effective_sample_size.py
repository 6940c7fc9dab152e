"""Effective sample size, and the fallback of a strategy whose weights leave too little of it."""

from scorer.importance.controls import FixedShare
from scorer.importance.running import RunningMean
from scorer.importance.strategy import Doubles, Importance, ScoredRows, State, Strategy

MIN_SHARE = 0.3
"""Below this effective share a few heavy rows decide what is learned."""

MIN_ROWS = 2000.0
"""Rows that are weighed before the effective share is believed."""


def effective_sample_size(weight: Doubles) -> float:
    """Return (sum w)^2 / sum w^2 (Kish 1965): how many equal rows say as much as these weighted ones; 0 for none."""
    total = float(weight.sum())
    return total**2 / float((weight**2).sum()) if total else 0.0


class WatchedStrategy:
    """A strategy that is replaced by `uniform` while the effective share of its learned rows is below MIN_SHARE.

    The share is ESS / n over a running window of rows, each counted with its probability pi of being learned, so
    that it needs no knowledge of who was drawn: (sum pi w)^2 / (sum pi * sum pi w^2). The strategy goes on weighing
    unseen while it is replaced, and takes over again when its share recovers.

    Args:
        strategy: Whose weights are watched.
        budget: Share that `uniform` learns.

    Attributes:
        num_replaced: Rows that `uniform` weighed instead.
    """

    def __init__(self, strategy: Strategy, budget: float) -> None:
        self.num_replaced = 0
        self._strategy = strategy
        self._uniform = FixedShare("uniform", budget)
        self._learned = RunningMean()
        self._weight = RunningMean()
        self._weight_squared = RunningMean()

    @property
    def name(self) -> str:
        """Name of the strategy that is watched."""
        return self._strategy.name

    @property
    def effective_share(self) -> float:
        """ESS / n of the learned rows in the window; 1 while there is none."""
        spread = self._learned.value * self._weight_squared.value
        return self._weight.value**2 / spread if spread > 0 else 1.0

    def weigh(self, rows: ScoredRows) -> Importance:
        """Return what the rows teach, by the strategy or by its replacement."""
        taught = self._strategy.weigh(rows)
        pi, weight = taught.inclusion_probability, taught.importance_weight
        self._learned.update(pi)
        self._weight.update(pi * weight)
        self._weight_squared.update(pi * weight**2)
        if self._learned.count < MIN_ROWS or self.effective_share >= MIN_SHARE:
            return taught
        self.num_replaced += len(rows)
        return self._uniform.weigh(rows)

    def snapshot(self) -> State:
        """Return the strategy's state and the window's."""
        return self._strategy.snapshot() | {
            "watched_rows": self._learned.count,
            "watched_learned": self._learned.value,
            "watched_weight": self._weight.value,
            "watched_weight_squared": self._weight_squared.value,
        }

    def restore(self, state: State) -> None:
        """Continue from a snapshot."""
        self._strategy.restore(state)
        windows = {
            "watched_learned": self._learned,
            "watched_weight": self._weight,
            "watched_weight_squared": self._weight_squared,
        }
        for name, window in windows.items():
            window.value = state[name]
            window.count = state["watched_rows"]
