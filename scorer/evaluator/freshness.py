"""Freshness: how long from the moment a label is due until a version that learned from it serves."""

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any, NotRequired, TypedDict

import numpy as np
import numpy.typing as npt

Longs = npt.NDArray[np.int64]
Texts = npt.NDArray[np.str_]

MAX_VERSIONS = 1_000
"""Versions remembered of each kind: hours of promotions, while a release reaches everyone within seconds."""


class FreshnessSnapshot(TypedDict):
    """State as arrays: rows that no serving version covers yet, first scores, and what was served when.

    Snapshots from before rows could come after the version that covers them hold no `served_` arrays.

    Attributes:
        partitions: Partition of `weighted-examples` of each waiting row, int32.
        offsets: Its offset there, int64.
        label_due_ms: When its label was due, int64.
        scored_versions: Versions seen on rows, str.
        scored_ms: When each of them first scored, int64.
        served_partitions: Partition of each served range, str.
        served_offsets: Offset that it ends before, int64.
        served_ms: When a version that covers it first scored, int64.
    """

    partitions: npt.NDArray[np.int32]
    offsets: Longs
    label_due_ms: Longs
    scored_versions: Texts
    scored_ms: Longs
    served_partitions: NotRequired[Texts]
    served_offsets: NotRequired[Longs]
    served_ms: NotRequired[Longs]


class FreshnessTracker:
    """Measures event-to-served time from two streams: scored rows and model releases.

    A release says up to which offset of `weighted-examples` the plans behind a version reach. When a row is seen that
    this version scored, every row below those offsets is served by what was learned from it (or, for a row that
    selection left out, by what was learned after considering it): its freshness is the time of that first score less
    the time its label was due. Rows, releases and partitions are read independently: whichever is seen last settles
    a row, by the earliest score known then of a version that covers it.

    Rows whose learning was undone, by going back to an older version, are learned by nothing: they are given up.

    Args:
        max_waiting: Rows kept that no version covers yet, for when nothing is promoted; beyond it the oldest are
            given up and counted in `num_given_up`.

    Attributes:
        num_waiting: Rows that no serving version covers yet.
        num_given_up: Rows that none will ever cover, or that none did in time.
    """

    def __init__(self, max_waiting: int = 1_000_000) -> None:
        self._max_waiting = max_waiting
        self._waiting: dict[int, deque[tuple[int, int]]] = {}
        self.num_waiting = 0
        self._covered_by_version: dict[str, Mapping[str, int]] = {}
        self._scored_ms_by_version: dict[str, int] = {}
        self._served: dict[str, _ServedOffsets] = {}
        self._gaps: dict[str, dict[tuple[int, int], None]] = {}
        self.num_given_up = 0

    def add_rows(self, partition: int, offset: int, label_due_ms: Iterable[int]) -> list[float]:
        """Take the rows of one record of `weighted-examples`; offsets rise within a partition.

        Returns:
            Their freshness, in seconds, if a version that covers them serves already; the others wait.
        """
        if any(start <= offset < stop for start, stop in self._gaps.get(str(partition), ())):
            self.num_given_up += sum(1 for _ in label_due_ms)
            return []
        served = self._served.get(str(partition))
        if served is not None and (scored_ms := served.since_ms(offset)) is not None:
            return [(scored_ms - due_ms) / 1000 for due_ms in label_due_ms]
        rows = self._waiting.setdefault(partition, deque())
        before = len(rows)
        rows.extend((offset, due_ms) for due_ms in label_due_ms)
        self.num_waiting += len(rows) - before
        while self.num_waiting > self._max_waiting:
            longest = max(self._waiting.values(), key=len)
            longest.popleft()
            self.num_waiting -= 1
            self.num_given_up += 1
        return []

    def add_release(
        self, version: str, covered_offsets: Mapping[str, int], gaps: Iterable[Mapping[str, tuple[int, int]]] = ()
    ) -> list[float]:
        """Take note of what a version covers; return the freshness, in seconds, of the rows that this settles.

        Args:
            version: Its name.
            covered_offsets: Next offset by partition number that its plans had covered.
            gaps: Stretches below them whose learning was undone.
        """
        for gap in gaps:
            for name, (start, stop) in gap.items():
                self._give_up(name, start, stop)
        self._covered_by_version[version] = covered_offsets
        _forget_oldest(self._covered_by_version)
        return self._serve(version)

    def add_score(self, version: str, scored_ms: int) -> list[float]:
        """Take note that a live version scored; return the freshness, in seconds, of the rows that this settles."""
        known_ms = self._scored_ms_by_version.get(version)
        # Another partition, read later, may hold an earlier score.
        if known_ms is not None and known_ms <= scored_ms:
            return []
        self._scored_ms_by_version[version] = scored_ms
        _forget_oldest(self._scored_ms_by_version)
        return self._serve(version)

    def snapshot(self) -> FreshnessSnapshot:
        """Return the state as arrays that `restore` takes.

        What unserved releases cover is not part of it: their topic is read again from the beginning.
        """
        rows = [(partition, *row) for partition, waiting in self._waiting.items() for row in waiting]
        columns = np.array(rows, dtype=np.int64).reshape(-1, 3)
        served = list(self._served.items())
        return {
            "partitions": columns[:, 0].astype(np.int32),
            "offsets": columns[:, 1],
            "label_due_ms": columns[:, 2],
            "scored_versions": np.array(list(self._scored_ms_by_version), dtype=np.str_),
            "scored_ms": np.array(list(self._scored_ms_by_version.values()), dtype=np.int64),
            "served_partitions": np.array([name for name, one in served for _ in one.offsets], dtype=np.str_),
            "served_offsets": np.array([offset for _, one in served for offset in one.offsets], dtype=np.int64),
            "served_ms": np.array([time_ms for _, one in served for time_ms in one.times_ms], dtype=np.int64),
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
        if "served_partitions" in snapshot:
            served = (snapshot["served_partitions"], snapshot["served_offsets"], snapshot["served_ms"])
            for name, offset, time_ms in zip(*served, strict=True):
                tracker._served.setdefault(str(name), _ServedOffsets()).add(int(offset), int(time_ms))
        return tracker

    def _give_up(self, name: str, start: int, stop: int) -> None:
        known = self._gaps.setdefault(name, {})
        known[start, stop] = None
        _forget_oldest(known)
        for partition, waiting in self._waiting.items():
            if str(partition) == name:
                left = [row for row in waiting if not start <= row[0] < stop]
                self.num_given_up += len(waiting) - len(left)
                self.num_waiting -= len(waiting) - len(left)
                self._waiting[partition] = deque(left)

    def _serve(self, version: str) -> list[float]:
        """Settle what a version covers, once both its release and a score of it are known."""
        covered_offsets, scored_ms = self._covered_by_version.get(version), self._scored_ms_by_version.get(version)
        if covered_offsets is None or scored_ms is None:
            return []
        for name, covered in covered_offsets.items():
            self._served.setdefault(name, _ServedOffsets()).add(covered, scored_ms)
        settled: list[float] = []
        for partition, waiting in self._waiting.items():
            covered = covered_offsets.get(str(partition), 0)
            while waiting and waiting[0][0] < covered:
                _, due_ms = waiting.popleft()
                settled.append((scored_ms - due_ms) / 1000)
        self.num_waiting -= len(settled)
        return settled


class _ServedOffsets:
    """Since when each offset of one partition is served: two rising lists of one length, at most `MAX_VERSIONS` long.

    Attributes:
        offsets: Ends of served ranges.
        times_ms: When a version first scored that covers everything before that end.
    """

    def __init__(self) -> None:
        self.offsets: list[int] = []
        self.times_ms: list[int] = []

    def add(self, covered: int, scored_ms: int) -> None:
        """Take note that everything before an offset is served since then."""
        place = bisect_left(self.offsets, covered)
        if place < len(self.offsets) and self.times_ms[place] <= scored_ms:
            return
        # Shorter ranges that were served no earlier have nothing to say any more.
        overtaken = slice(bisect_left(self.times_ms, scored_ms), bisect_right(self.offsets, covered))
        self.offsets[overtaken] = [covered]
        self.times_ms[overtaken] = [scored_ms]
        del self.offsets[:-MAX_VERSIONS], self.times_ms[:-MAX_VERSIONS]

    def since_ms(self, offset: int) -> int | None:
        """Return since when an offset is served; None if it is not yet."""
        place = bisect_right(self.offsets, offset)
        return self.times_ms[place] if place < len(self.offsets) else None


def _forget_oldest(versions: dict[Any, Any]) -> None:
    while len(versions) > MAX_VERSIONS:
        del versions[next(iter(versions))]
