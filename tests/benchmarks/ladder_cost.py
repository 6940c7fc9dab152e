"""What the ladder costs the trainer: the same updates with it and without, in turn."""

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from trainer.backtest.runs.arms import Arm
from trainer.backtest.runs.run import Parts, assemble
from trainer.backtest.runs.streams import Stream
from trainer.state.checkpoint import CheckpointStore

UPDATES = 20
NOT_COUNTED = 4
"""First updates, in which caches fill."""


@dataclass(frozen=True)
class Cost:
    """Median seconds of an update: featurize, choose, judge, learn, checkpoint.

    Attributes:
        threads: Of torch.
        rows: Of an update.
        without: Seconds when the newest weights serve.
        with_ladder: Seconds with the ladder.
    """

    threads: int
    rows: int
    without: float
    with_ladder: float

    @property
    def throughput_change(self) -> float:
        """Change of rows per second, as a share."""
        return self.without / self.with_ladder - 1


def measure(stream: Stream, ladder: Arm, newest: Arm, threads: int) -> Cost:
    """Run the same updates under both arms, update by update in alternating order."""
    seconds: dict[str, list[float]] = {ladder.name: [], newest.name: []}
    torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory() as directory:
        running = []
        for arm in (ladder, newest):
            home = Path(directory, arm.name)
            home.mkdir()
            running.append((arm.name, assemble(arm.seeded(0), stream, 0, home), CheckpointStore(home / "checkpoints")))
        for update in range(UPDATES):
            for name, parts, store in running if update % 2 else running[::-1]:
                seconds[name].append(_update(parts, store))
    without, with_ladder = (float(np.median(seconds[arm.name][NOT_COUNTED:])) for arm in (newest, ladder))
    return Cost(threads, ladder.trainer.update_rows, without, with_ladder)


def _update(parts: Parts, store: CheckpointStore) -> float:
    parts.scorer.read()
    scored = parts.scorer.score()
    assert scored is not None, "the stream is longer than the updates"
    started = time.perf_counter()
    plan, rows = parts.trainer.admit(scored.record)
    parts.trainer.decide(rows, plan)
    parts.trainer.line.learn(rows, plan)
    store.write(parts.trainer.line.checkpoint())
    return time.perf_counter() - started
