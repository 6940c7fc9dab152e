"""One arm on one stream: score a round, weigh it, learn what was drawn, go on.

A round is scored by the weights that the rounds before it left (progressive validation). No gate: every arm serves what
it learned. Shape legend: N rows of a round.
"""

import time
from collections import deque
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from scorer.importance.settings import ImportanceSettings
from scorer.importance.strategies import build_strategy
from scorer.importance.strategy import ScoredRows, Strategy
from tests.benchmarks.importance.arms import Arm
from tests.benchmarks.importance.bag import BagLearner, Doubles, Parameters, Rows
from tests.benchmarks.importance.design import TABLE
from tests.benchmarks.importance.old_rows import OldRows
from tests.benchmarks.importance.streams import Stream
from tests.benchmarks.importance.tally import Tally
from trainer.learning.update import shuffled_batches

_TRAINING = TABLE["training"]


@dataclass(frozen=True)
class Setting:
    """How an arm runs.

    Attributes:
        arm: What decides which rows teach.
        budget: Share of rows that may be learned, before the arm's own additions.
        rate: Learning rate.
        seed: Of the order of rows.
        importance: Parameters of the strategies.
        delay_rounds: Rounds after which a click is known; 0 when labels are complete.
        batch_rows: Rows of one optimizer step.
    """

    arm: Arm
    budget: float
    rate: float
    seed: int
    importance: ImportanceSettings
    delay_rounds: int = 0
    batch_rows: int = _TRAINING["batch_rows"]


def warm_start(stream: Stream, seed: int) -> BagLearner:
    """Return a learner that has learned the stream's history in full: where every arm begins."""
    learner = BagLearner(stream, seed, _TRAINING["warm_rate"])
    size = _TRAINING["update_rows"]
    for number, start in enumerate(range(0, stream.history, size)):
        rows = np.arange(start, min(start + size, stream.history))
        columns = np.stack([stream.label_N[rows], np.ones(len(rows)), np.zeros(len(rows))]).astype(np.float32)
        learner.learn(rows, columns, shuffled_batches([1] * len(rows), _TRAINING["batch_rows"], number))
    return learner


class ArmRun:
    """An arm that goes along a stream.

    Args:
        stream: The rows.
        setting: The arm, its budget and rate, and how late clicks are known.
        start: The warm-started learner; not changed.
    """

    def __init__(self, stream: Stream, setting: Setting, start: BagLearner) -> None:
        self._stream = stream
        self._setting = setting
        self._tally = Tally()
        arm = setting.arm
        self._learner = start.branch(setting.rate)
        self._old = OldRows(arm.name, self._learner, setting.seed) if arm.replays else None
        budget = arm.budget(setting.budget) * (1 - TABLE["replay"]["share"] if arm.replays else 1)
        self._strategy = build_strategy(arm.strategy, budget, setting.importance) if arm.learns else None
        self._heads: deque[npt.NDArray[np.float32]] = deque(maxlen=arm.heads)
        self._reference = self._learner.branch(0.0).parameters if arm.reference else None

    def run(self) -> Tally:
        """Go along the whole stream."""
        for number in range(self._stream.num_rounds):
            self._round(number)
        self._tally.replaced = sum(getattr(self._strategy, "num_replaced", {}).values())
        return self._tally

    def _round(self, number: int) -> None:
        tally, stream = self._tally, self._stream
        started = time.process_time()
        fresh = self._rows_of(number)
        if self._setting.arm.strategy:
            z, h = self._score(fresh)
        else:
            z = np.log(stream.probability_N[fresh] / (1 - stream.probability_N[fresh]))
        tally.score_seconds += time.process_time() - started
        tally.add_round(z, stream.truth_N[fresh], stream.probability_N[fresh])
        if self._strategy is None:
            return
        started = time.process_time()
        rows, label = fresh, stream.label_N[fresh]
        if self._setting.delay_rounds:
            rows, label = self._presented(number)
            if not len(rows):
                return
            z, h = self._score(rows)
        pi, columns = self._weigh(self._strategy, rows, self._averaged(z, h), label, h)
        kept = stream.draw_N[rows] < pi
        tally.score_seconds += time.process_time() - started
        started = time.process_time()
        self._learn(number, rows[kept], columns[:, kept], fresh)
        tally.learn_seconds += time.process_time() - started

    def _rows_of(self, number: int) -> Rows:
        size = _TRAINING["update_rows"]
        start = self._stream.history + number * size
        return np.arange(start, start + size)

    def _presented(self, number: int) -> tuple[Rows, Doubles]:
        """Return what can be learned in a round when clicks are known late: rows and the labels they come with."""
        delay = self._setting.delay_rounds
        past = self._rows_of(number - delay) if number >= delay else np.arange(0)
        if not self._setting.arm.early:
            return past, self._stream.label_N[past]
        clicked = past[self._stream.label_N[past] == 1]
        fresh = self._rows_of(number)
        return np.concatenate([fresh, clicked]), np.concatenate([np.zeros(len(fresh)), np.ones(len(clicked))])

    def _score(self, rows: Rows, parameters: Parameters | None = None) -> tuple[Doubles, npt.NDArray[np.float32]]:
        self._tally.forward_rows += len(rows)
        return self._learner.score(rows, parameters)

    def _averaged(self, z: Doubles, h: npt.NDArray[np.float32]) -> Doubles:
        """Return the mean logit of the heads of the last rounds; of this one alone, z itself."""
        own = self._learner.parameters
        self._heads.append(np.append(own.head, own.head_bias))
        change = np.mean(self._heads, axis=0) - self._heads[-1]
        return z + h @ change[:-1] + change[-1]

    def _weigh(
        self, strategy: Strategy, rows: Rows, z: Doubles, label: Doubles, h: npt.NDArray[np.float32]
    ) -> tuple[Doubles, npt.NDArray[np.float32]]:
        """Return pi, and label, weight and logit offset as the loss takes them; weighed in micro-batches."""
        norm = np.linalg.norm(h, axis=1).astype(np.float64)
        reference_z = None if self._reference is None else self._score(rows, self._reference)[0]
        size = _TRAINING["micro_batch_rows"]
        pi = np.zeros(len(rows))
        columns = np.zeros((3, len(rows)), dtype=np.float32)
        columns[0] = label
        for start in range(0, len(rows), size):
            part = slice(start, start + size)
            taught = strategy.weigh(
                ScoredRows(z[part], label[part], norm[part], None if reference_z is None else reference_z[part])
            )
            pi[part] = taught.inclusion_probability
            columns[1:, part] = taught.importance_weight, taught.logit_offset
        return pi, columns

    def _learn(self, number: int, rows: Rows, columns: npt.NDArray[np.float32], fresh: Rows) -> None:
        if self._old is not None:
            old, weight = self._old.draw(len(rows), fresh)
            self._old.offer(rows)
            again = np.stack([self._stream.label_N[old], weight, np.zeros(len(old))]).astype(np.float32)
            rows, columns = np.concatenate([rows, old]), np.concatenate([columns, again], axis=1)
        seed = self._setting.seed * 1_000_000 + number
        batches = shuffled_batches([1] * len(rows), self._setting.batch_rows, seed)
        self._learner.learn(rows, columns, batches)
        if self._reference is not None:
            decay = np.float32(_TRAINING["reference_decay"])
            self._reference.flat += (1 - decay) * (self._learner.parameters.flat - self._reference.flat)
        self._tally.backward_rows += len(rows)
        self._tally.steps += len(batches)
