"""Placebos: another strategy's weights, given to other rows."""

from dataclasses import replace

import numpy as np

from scorer.importance.gradient_norm import GradientNormSampling
from scorer.importance.strategy import Doubles, Importance, ScoredRows

POOL_ROWS = 64
"""Rows of each group whose weights wait to be given away: a micro-batch alone may hold a single click."""

_COLUMNS = 4


class Placebo:
    """pi, w and offset of an inner strategy, permuted at random over all rows, or within each label.

    Effective sample size and every marginal distribution stay as they are; which row is important is forgotten.
    `placebo` permutes over all rows: nothing is left that could teach more than `uniform`. `class_placebo` permutes
    within the clicks and within the non-clicks, and so keeps the share of clicks: what a strategy gains over it is what
    its scores know beyond the label. As biased as the inner strategy where it keeps the label, else unbiased: pi and
    correction travel together. Rows swap weights with the last POOL_ROWS rows of their group, so that it works on the
    smallest micro-batches. Its variance ratio is the inner strategy's: both are switched off on the same rows.

    Args:
        strategy: Whose weights are permuted.
        within_class: Whether clicks and non-clicks keep their weights to themselves.
        seed: Of the permutations; each call's is drawn from the seed and the number of calls before it.
    """

    def __init__(self, strategy: GradientNormSampling, *, within_class: bool, seed: int = 0) -> None:
        self.name = "class_placebo" if within_class else "placebo"
        self._strategy = strategy
        self._within_class = within_class
        self._seed = seed
        self._num_calls = 0
        self._pools: dict[int, Doubles] = {
            group: np.empty((_COLUMNS, 0)) for group in ((0, 1) if within_class else (0,))
        }

    def weigh(self, rows: ScoredRows) -> Importance:
        """Return what the rows teach."""
        taught = self._strategy.weigh(rows)
        columns = np.stack(
            [taught.inclusion_probability, taught.sampling_correction, taught.factor, taught.logit_offset]
        )
        random = np.random.default_rng((self._seed, self._num_calls))
        self._num_calls += 1
        group_of_row = rows.label if self._within_class else np.zeros(len(rows))
        for group, pool in self._pools.items():
            places = np.flatnonzero(group_of_row == group)
            mixed = np.concatenate([pool, columns[:, places]], axis=1)
            mixed = mixed[:, random.permutation(mixed.shape[1])]
            columns[:, places] = mixed[:, : len(places)]
            # What was not given away waits; while the pool fills, what was given away waits too.
            self._pools[group] = np.roll(mixed, -len(places), axis=1)[:, :POOL_ROWS]
        pi, correction, factor, offset = columns
        return replace(
            taught,
            strategy=self.name,
            inclusion_probability=pi,
            sampling_correction=correction,
            factor=factor,
            logit_offset=offset,
        )
