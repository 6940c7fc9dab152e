"""The evaluator's whole state, without Kafka: rows and releases in, quality and freshness out."""

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from scorer.evaluator.drift import SIGNALS, DriftMonitor, Signal
from scorer.evaluator.freshness import FreshnessSnapshot, FreshnessTracker
from scorer.evaluator.score_window import COLUMNS, ScoreWindow, WindowQuality, WindowSnapshot
from scorer.evaluator.settings import EvaluatorSettings
from scorer.measures.worth import RunningWorth, Worth, WorthSnapshot
from stream.events import ModelRelease, WeightedExample
from stream.first_copies import Copy, FirstCopies, FirstCopiesSnapshot

Arrays = Mapping[str, npt.NDArray[Any]]

COPIES: tuple[Copy, ...] = ("new", "repeat", "late")

FRESHNESS_ROWS = 20_000
"""Rows that the freshness quantiles are over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What the evaluator knows at one moment.

    Attributes:
        window: Quality over the sliding window.
        num_distinct: First copies since the very first start, restarts included.
        freshness: Quantiles 0.5, 0.95 and 0.99 in seconds; empty before the first row was served by what learned it.
        num_waiting: Rows that no serving version covers yet.
        mean_loss: Mean log loss since its last drift.
        mean_rate: Click rate since its last drift.
        worth: What retraining is worth by the rows that it is over: `all` since the frozen version was, or `recent`.
    """

    window: WindowQuality
    num_distinct: int
    freshness: dict[float, float]
    num_waiting: int
    mean_loss: float
    mean_rate: float
    worth: dict[str, Worth]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordReport:
    """What one record of `weighted-examples` brought.

    Attributes:
        copies: Rows by what they are.
        drifts: Drifts by signal.
        freshness: Seconds of the rows that turned out to be served.
    """

    copies: dict[Copy, int]
    drifts: dict[Signal, int]
    freshness: list[float]


class ProgressiveEvaluator:
    """Judges every first copy by the scores that were made before anything learned from it.

    Args:
        settings: Size of the window, horizon of the copies, patience of the detectors.
    """

    def __init__(self, settings: EvaluatorSettings) -> None:
        self._settings = settings
        self._copies = FirstCopies(settings.horizon_seconds)
        self._window = ScoreWindow(settings.window_rows, settings.min_rows)
        self._freshness = FreshnessTracker()
        self._served_seconds: deque[float] = deque(maxlen=FRESHNESS_ROWS)
        self._drift = DriftMonitor(settings.drift_delta)
        self._worth = RunningWorth()
        self._num_distinct = 0

    def add_record(self, partition: int, offset: int, examples: Sequence[WeightedExample]) -> RecordReport:
        """Add the rows of one record; offsets rise within a partition."""
        counts: dict[Copy, int] = dict.fromkeys(COPIES, 0)
        first_copies = []
        served: list[float] = []
        for example in examples:
            copy = self._copies.observe(example.labeled)
            counts[copy] += 1
            served += self._freshness.add_score(example.live.version, example.scored_ms)
            if copy == "new":
                first_copies.append(example)
        drifts = dict.fromkeys(SIGNALS, 0)
        self._num_distinct += len(first_copies)
        served += self._freshness.add_rows(partition, offset, [row.labeled.label_due_ms for row in first_copies])
        judged = [row for row in first_copies if math.isfinite(row.live.z)]
        for row in judged:
            if row.frozen is not None and math.isfinite(row.frozen.z):
                self._worth.add(row.frozen.version, row.live.z, row.frozen.z, row.labeled.label)
        if judged:
            self._window.add(judged)
            drifts = self._drift.add(
                np.array([row.live.z for row in judged]),
                np.array([row.labeled.label for row in judged], dtype=np.int8),
            )
        self._served_seconds.extend(served)
        return RecordReport(copies=counts, drifts=drifts, freshness=served)

    def add_release(self, release: ModelRelease) -> list[float]:
        """Take note of a release; return the freshness, in seconds, of the rows that this settles."""
        if release.alias != "champion":
            return []
        served = self._freshness.add_release(release.version, release.covered_offsets, release.gaps or ())
        self._served_seconds.extend(served)
        return served

    def evaluate(self) -> Evaluation:
        """Return what is known now."""
        seconds = np.array(self._served_seconds)
        return Evaluation(
            window=self._window.judge(),
            num_distinct=self._num_distinct,
            freshness={q: float(np.quantile(seconds, q)) for q in (0.5, 0.95, 0.99)} if len(seconds) else {},
            num_waiting=self._freshness.num_waiting,
            mean_loss=self._drift.mean_loss() if len(self._window) else math.nan,
            mean_rate=self._drift.mean_rate() if len(self._window) else math.nan,
            worth={"all": self._worth.over_all(), "recent": self._worth.over_recent()},
        )

    def snapshot(self) -> Arrays:
        """Return the state as named arrays that `restore` takes.

        Drift detectors are not part of it: `restore` shows them the window again.
        """
        groups = {
            "copies": self._copies.snapshot(),
            "window": self._window.snapshot(),
            "freshness": self._freshness.snapshot(),
            "worth": self._worth.snapshot(),
        }
        arrays = {
            f"{group}.{name}": np.asarray(array) for group, state in groups.items() for name, array in state.items()
        }
        arrays["served_seconds"] = np.array(self._served_seconds)
        arrays["num_distinct"] = np.array(self._num_distinct)
        return arrays

    @classmethod
    def restore(cls, arrays: Arrays, settings: EvaluatorSettings) -> "ProgressiveEvaluator":
        """Return the evaluator a snapshot was taken of; one of an older release compares live and frozen from here on.

        Raises:
            KeyError: an array is missing.
        """
        evaluator = cls(settings)
        copies = cast(FirstCopiesSnapshot, _group(arrays, "copies"))
        evaluator._copies = FirstCopies.restore(copies, settings.horizon_seconds)
        window = cast(WindowSnapshot, _group(arrays, "window"))
        evaluator._window = ScoreWindow.restore(window, settings.window_rows, settings.min_rows)
        evaluator._freshness = FreshnessTracker.restore(cast(FreshnessSnapshot, _group(arrays, "freshness")))
        evaluator._served_seconds.extend(arrays["served_seconds"].tolist())
        evaluator._num_distinct = int(arrays["num_distinct"])
        if worth := _group(arrays, "worth"):
            evaluator._worth.restore(cast(WorthSnapshot, worth))
        evaluator._drift.add(window["z"][:, COLUMNS.index("live")], window["label"])
        return evaluator


def _group(arrays: Arrays, name: str) -> dict[str, Any]:
    prefix = f"{name}."
    return {key.removeprefix(prefix): array for key, array in arrays.items() if key.startswith(prefix)}
