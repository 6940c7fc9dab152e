"""The placebo: another strategy's weights, given to other rows."""

import numpy as np

from scorer.importance.gradient_norm import GradientNormSampling
from scorer.importance.strategy import Doubles, Importance, ScoredRows, State, importance

POOL_ROWS = 64
"""Rows of each label whose weights wait to be given away: a micro-batch alone may hold a single click."""

_COLUMNS = 4


class Placebo:
    """pi, w and offset of an inner strategy, permuted at random within the clicks and within the non-clicks.

    Effective sample size, share of clicks and every marginal distribution stay as they are; which row is important is
    forgotten. What a strategy gains over its placebo is what its scores know, and not its weights' spread or its
    balance of labels. As biased as the inner strategy: pi and correction travel together. Rows swap weights with those
    of the last POOL_ROWS rows of their label, so that it works on the smallest micro-batches.

    Args:
        strategy: Whose weights are permuted.
        seed: Of the permutations; each call's is drawn from the seed and the number of calls before it.
    """

    name = "placebo"

    def __init__(self, strategy: GradientNormSampling, seed: int = 0) -> None:
        self._strategy = strategy
        self._seed = seed
        self._num_calls = 0
        self._pools: dict[int, Doubles] = {label: np.empty((_COLUMNS, 0)) for label in (0, 1)}

    @property
    def variance_ratio(self) -> float:
        """That of the inner strategy, so that both are switched off on the same rows."""
        return self._strategy.variance_ratio

    def weigh(self, rows: ScoredRows) -> Importance:
        """Return what the rows teach."""
        taught = self._strategy.weigh(rows)
        columns = np.stack(
            [taught.inclusion_probability, taught.sampling_correction, taught.factor, taught.logit_offset]
        )
        random = np.random.default_rng((self._seed, self._num_calls))
        self._num_calls += 1
        for label, pool in self._pools.items():
            places = np.flatnonzero(rows.label == label)
            mixed = np.concatenate([pool, columns[:, places]], axis=1)
            mixed = mixed[:, random.permutation(mixed.shape[1])]
            columns[:, places] = mixed[:, : len(places)]
            # What was not given away waits; while the pool fills, what was given away waits too.
            self._pools[label] = np.roll(mixed, -len(places), axis=1)[:, :POOL_ROWS]
        pi, correction, factor, offset = columns
        return importance(
            self.name,
            pi,
            sampling_correction=correction,
            factor=factor,
            logit_offset=offset,
            mean_score=taught.mean_score,
            mean_sigmoid=taught.mean_sigmoid,
        )

    def snapshot(self) -> State:
        """Return the inner strategy's state, the number of calls and the weights that wait."""
        waiting = {
            f"placebo_{label}_{row}_{column}": float(value)
            for label, pool in self._pools.items()
            for (column, row), value in np.ndenumerate(pool)
        }
        return self._strategy.snapshot() | {"placebo_calls": float(self._num_calls)} | waiting

    def restore(self, state: State) -> None:
        """Continue from a snapshot."""
        self._strategy.restore(state)
        self._num_calls = int(state["placebo_calls"])
        for label in self._pools:
            num_rows = sum(name.startswith(f"placebo_{label}_") for name in state) // _COLUMNS
            values = [
                [state[f"placebo_{label}_{row}_{column}"] for row in range(num_rows)] for column in range(_COLUMNS)
            ]
            self._pools[label] = np.array(values).reshape(_COLUMNS, num_rows)
