"""Freshness: how long from the moment a label is due until a version that learned from it serves."""

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any, TypedDict

import numpy as np
import numpy.typing as npt

Longs = npt.NDArray[np.int64]

MAX_VERSIONS = 1_000
"""Versions remembered of each kind: hours of promotions, while a release reaches everyone within seconds."""


class FreshnessSnapshot(TypedDict):
    """State as arrays: rows that no serving version covers yet, and versions of which one half is known.

    Attributes:
        partitions: Partition of `weighted-examples` of each row, int32.
        offsets: Its offset there, int64.
        label_due_ms: When its label was due, int64.
        scored_versions: Versions seen on rows whose release has not been seen, str.
        scored_ms: When each of them first scored, int64.
    """

    partitions: npt.NDArray[np.int32]
    offsets: Longs
    label_due_ms: Longs
    scored_versions: npt.NDArray[np.str_]
    scored_ms: Longs


class FreshnessTracker:
    """Measures event-to-served time from two streams: scored rows and model releases.

    A release says up to which offset of `weighted-examples` the plans behind a version reach. When a row is seen that
    this version scored, every earlier row below those offsets is served by what was learned from it (or, for a row
    that selection left out, by what was learned after considering it): its freshness is the time of that first score
    less the time its label was due. Rows and releases come on different topics; either may be seen first.

    Args:
        max_waiting: Rows kept that no version covers yet, for when nothing is promoted; beyond it the oldest are
            given up and counted in `num_given_up`.
    """

    def __init__(self, max_waiting: int = 1_000_000) -> None:
        self._max_waiting = max_waiting
        self._waiting: dict[int, deque[tuple[int, int]]] = {}
        self._num_waiting = 0
        self._covered_by_version: dict[str, Mapping[str, int]] = {}
        self._scored_ms_by_version: dict[str, int] = {}
        self._settled_versions: dict[str, None] = {}
        self.num_given_up = 0

    @property
    def num_waiting(self) -> int:
        """Rows that no serving version covers yet."""
        return self._num_waiting

    def add_rows(self, partition: int, offset: int, label_due_ms: Iterable[int]) -> None:
        """Remember the rows of one record of `weighted-examples`; offsets rise within a partition."""
        rows = self._waiting.setdefault(partition, deque())
        before = len(rows)
        rows.extend((offset, due_ms) for due_ms in label_due_ms)
        self._num_waiting += len(rows) - before
        while self._num_waiting > self._max_waiting:
            longest = max(self._waiting.values(), key=len)
            longest.popleft()
            self._num_waiting -= 1
            self.num_given_up += 1

    def add_release(self, version: str, covered_offsets: Mapping[str, int]) -> list[float]:
        """Take note of what a version covers; return the freshness, in seconds, of the rows that this settles."""
        scored_ms = self._scored_ms_by_version.pop(version, None)
        if scored_ms is not None:
            return self._settle(covered_offsets, scored_ms)
        self._covered_by_version[version] = covered_offsets
        _forget_oldest(self._covered_by_version)
        return []

    def add_score(self, version: str, scored_ms: int) -> list[float]:
        """Take note that a live version scored; return the freshness, in seconds, of the rows that this settles."""
        if version in self._settled_versions:
            return []
        self._settled_versions[version] = None
        _forget_oldest(self._settled_versions)
        covered_offsets = self._covered_by_version.pop(version, None)
        if covered_offsets is not None:
            return self._settle(covered_offsets, scored_ms)
        self._scored_ms_by_version[version] = scored_ms
        _forget_oldest(self._scored_ms_by_version)
        return []

    def snapshot(self) -> FreshnessSnapshot:
        """Return the state as arrays that `restore` takes.

        What releases cover is not part of it: their topic is read again from the beginning.
        """
        rows = [(partition, *row) for partition, waiting in self._waiting.items() for row in waiting]
        columns = np.array(rows, dtype=np.int64).reshape(-1, 3)
        return {
            "partitions": columns[:, 0].astype(np.int32),
            "offsets": columns[:, 1],
            "label_due_ms": columns[:, 2],
            "scored_versions": np.array(list(self._scored_ms_by_version), dtype=np.str_),
            "scored_ms": np.array(list(self._scored_ms_by_version.values()), dtype=np.int64),
        }

    @classmethod
    def restore(cls, snapshot: FreshnessSnapshot, max_waiting: int = 1_000_000) -> "FreshnessTracker":
        """Return the tracker a snapshot was taken of."""
        tracker = cls(max_waiting)
        rows = zip(snapshot["partitions"], snapshot["offsets"], snapshot["label_due_ms"], strict=True)
        for partition, offset, due_ms in rows:
            tracker.add_rows(int(partition), int(offset), [int(due_ms)])
        for version, scored_ms in zip(snapshot["scored_versions"], snapshot["scored_ms"], strict=True):
            tracker.add_score(str(version), int(scored_ms))
        return tracker

    def _settle(self, covered_offsets: Mapping[str, int], scored_ms: int) -> list[float]:
        settled: list[float] = []
        for partition, waiting in self._waiting.items():
            covered = covered_offsets.get(str(partition), 0)
            while waiting and waiting[0][0] < covered:
                _, due_ms = waiting.popleft()
                settled.append((scored_ms - due_ms) / 1000)
        self._num_waiting -= len(settled)
        return settled


def _forget_oldest(versions: dict[str, Any]) -> None:
    while len(versions) > MAX_VERSIONS:
        del versions[next(iter(versions))]
