"""Rows of earlier rounds that are learned again, weighed by age or by how much they look like the present."""

import numpy as np

from tests.benchmarks.importance.bag import BagLearner, Doubles, Rows
from tests.benchmarks.importance.design import TABLE
from trainer.learning.replay_buffer import ReplayBuffer
from trainer.learning.replay_weights import relative_density_ratios
from trainer.settings import TrainerSettings


class OldRows:
    """The trainer's replay buffer over rows of a stream, and the weights of two strategies.

    Args:
        strategy: recency or density_ratio.
        learner: Whose hidden units tell old from new; a forward pass of both, not counted as scoring.
        seed: Of what is kept and drawn.
    """

    def __init__(self, strategy: str, learner: BagLearner, seed: int) -> None:
        self._strategy = strategy
        self._learner = learner
        self._buffer = ReplayBuffer(TrainerSettings(replay_share=TABLE["replay"]["share"]))
        self._random = np.random.default_rng([seed, 5])

    def offer(self, rows: Rows) -> None:
        """Take in rows that are learned for the first time."""
        # The buffer never looks into what it keeps; here that is the number of a row.
        self._buffer.offer(rows.tolist(), self._random)

    def draw(self, num_new: int, fresh: Rows) -> tuple[Rows, Doubles]:
        """Return rows to be learned beside so many new ones, and their weights.

        Args:
            num_new: New rows that are learned in this round.
            fresh: All rows of this round.
        """
        rows = np.array(self._buffer.draw(num_new, self._random), dtype=np.int64)
        if not len(rows):
            return rows, np.zeros(0)
        if self._strategy == "recency":
            half_life = TABLE["replay"]["half_life_rounds"] * TABLE["training"]["update_rows"]
            return rows, np.exp2(-(fresh[-1] - rows) / half_life)
        _, h = self._learner.score(np.concatenate([rows, fresh]))
        return rows, relative_density_ratios(h.astype(np.float64), len(rows))
