"""Which row is the first copy of its impression, and which one repeats it or comes too late to tell."""

from typing import Literal, TypedDict

import numpy as np
import numpy.typing as npt

from stream.events import LabeledImpression
from stream.hashing import hash64

Copy = Literal["new", "repeat", "late"]

_SALT = "first-copies"
_ABSENT = np.iinfo(np.int64).min


class FirstCopiesSnapshot(TypedDict):
    """State as arrays; the four of ids have one length, the four of partitions another.

    Attributes:
        hashes: Hash of every remembered id, uint64.
        event_times_ms: Its event time, int64.
        id_partitions: Its source partition, int32.
        id_revisions: Its revision, int32.
        partitions: Source partitions seen, once for each revision seen in them, int32.
        revisions: Those revisions, int32.
        high_water_marks: Highest source offset seen in each, int64.
        newest_ms: Newest event time seen in each, int64.
    """

    hashes: npt.NDArray[np.uint64]
    event_times_ms: npt.NDArray[np.int64]
    id_partitions: npt.NDArray[np.int32]
    id_revisions: npt.NDArray[np.int32]
    partitions: npt.NDArray[np.int32]
    revisions: npt.NDArray[np.int32]
    high_water_marks: npt.NDArray[np.int64]
    newest_ms: npt.NDArray[np.int64]


class _Partition:
    """What is remembered of one revision in one source partition; each leaves the label join in offset order."""

    def __init__(self) -> None:
        self.event_time_by_hash: dict[int, int] = {}
        self.high_water_mark = -1
        self.newest_ms = _ABSENT
        self.pruned_ms = _ABSENT

    def prune(self, horizon_ms: int) -> None:
        # Rows come nearly in event-time order, so a sweep every tenth of the horizon touches an id about ten times.
        if self.newest_ms - self.pruned_ms > horizon_ms // 10:
            oldest_ms = self.newest_ms - horizon_ms
            kept = {key: time_ms for key, time_ms in self.event_time_by_hash.items() if time_ms >= oldest_ms}
            self.event_time_by_hash = kept
            self.pruned_ms = self.newest_ms


class FirstCopies:
    """Tells the first copy of each (impression_id, revision) from repeats, per source partition, in bounded memory.

    A repeat comes from a restart of the label join (same source offset) or from a producer that sent twice (a new
    one). Ids are remembered for `horizon_seconds` of event time; a row older than that is a repeat if its source
    offset was passed before and late if not: it can no longer be told from a producer's repeat, so nothing learns it.
    A revision's event time is that of the click that made it (`label_due_ms`): it may come a whole window after its
    impression.
    """

    def __init__(self, horizon_seconds: float = 600.0) -> None:
        self._horizon_ms = int(horizon_seconds * 1000)
        self._partitions: dict[tuple[int, int], _Partition] = {}

    def __len__(self) -> int:
        return sum(len(partition.event_time_by_hash) for partition in self._partitions.values())

    def observe(self, labeled: LabeledImpression) -> Copy:
        """Return what this row is, and remember it."""
        partition = self._partitions.setdefault((labeled.source_partition, labeled.revision), _Partition())
        event_time_ms = labeled.label_due_ms if labeled.revision else labeled.impression.event_time_ms
        passed = labeled.source_offset <= partition.high_water_mark
        partition.high_water_mark = max(partition.high_water_mark, labeled.source_offset)
        key = hash64(f"{labeled.revision}\0{labeled.impression.impression_id}", _SALT)
        # The horizon comes first: what is beyond it may be pruned or not, and the answer must not depend on that.
        if event_time_ms < partition.newest_ms - self._horizon_ms:
            return "repeat" if passed else "late"
        if key in partition.event_time_by_hash:
            return "repeat"
        # New even below the mark: a send that failed may be repeated out of order.
        partition.event_time_by_hash[key] = event_time_ms
        partition.newest_ms = max(partition.newest_ms, event_time_ms)
        partition.prune(self._horizon_ms)
        return "new"

    def snapshot(self) -> FirstCopiesSnapshot:
        """Return the state as arrays that `restore` takes; not a view of it."""
        items = list(self._partitions.items())
        sizes = [len(partition.event_time_by_hash) for _, partition in items]
        hashes = [key for _, partition in items for key in partition.event_time_by_hash]
        times_ms = [time_ms for _, partition in items for time_ms in partition.event_time_by_hash.values()]
        numbers = np.array([number for (number, _), _ in items], dtype=np.int32)
        revisions = np.array([revision for (_, revision), _ in items], dtype=np.int32)
        return {
            "hashes": np.array(hashes, dtype=np.uint64),
            "event_times_ms": np.array(times_ms, dtype=np.int64),
            "id_partitions": np.repeat(numbers, sizes),
            "id_revisions": np.repeat(revisions, sizes),
            "partitions": numbers,
            "revisions": revisions,
            "high_water_marks": np.array([partition.high_water_mark for _, partition in items], dtype=np.int64),
            "newest_ms": np.array([partition.newest_ms for _, partition in items], dtype=np.int64),
        }

    @classmethod
    def restore(cls, snapshot: FirstCopiesSnapshot, horizon_seconds: float = 600.0) -> "FirstCopies":
        """Return the state a snapshot was taken of; it answers every later row as the original would."""
        copies = cls(horizon_seconds)
        keys = _keys(snapshot["partitions"], snapshot.get("revisions"))
        for key, mark, newest_ms in zip(keys, snapshot["high_water_marks"], snapshot["newest_ms"], strict=True):
            partition = copies._partitions.setdefault(key, _Partition())
            partition.high_water_mark, partition.newest_ms = int(mark), int(newest_ms)
            partition.pruned_ms = int(newest_ms)
        keys = _keys(snapshot["id_partitions"], snapshot.get("id_revisions"))
        for key, id_hash, time_ms in zip(keys, snapshot["hashes"], snapshot["event_times_ms"], strict=True):
            copies._partitions[key].event_time_by_hash[int(id_hash)] = int(time_ms)
        return copies


def _keys(partitions: npt.NDArray[np.int32], revisions: npt.NDArray[np.int32] | None) -> list[tuple[int, int]]:
    """Return (partition, revision) of every row; snapshots from before there were revisions hold revision 0 only."""
    if revisions is None:
        return [(int(number), 0) for number in partitions]
    return [(int(number), int(revision)) for number, revision in zip(partitions, revisions, strict=True)]
