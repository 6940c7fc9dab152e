"""Where an audit begins to count: at the first impressions whose outcomes retention has left whole."""

from collections.abc import Mapping

from stream.cluster.log import Extent, LogRecord, TopicLog
from stream.events import EventError, LabeledImpression, decode_labeled
from stream.example_batch import decode_examples
from stream.topics import TopicKind

ALWAYS = 0
"""Record time since which all dead letters are there, when none was ever deleted."""


def letters_since(extent: Extent, oldest_ms: Mapping[int, int], retained_ms: int) -> int:
    """Return the record time from which on every dead letter is there.

    Args:
        extent: Of `dead-letters`.
        oldest_ms: Record time of the oldest letter there is, by partition.
        retained_ms: Record time that retention does not reach; for partitions in which nothing is left.
    """
    cut = [number for number, first in extent.first.items() if first]
    return max((oldest_ms.get(number, retained_ms) for number in cut), default=ALWAYS)


def count_start(
    log: TopicLog, extents: Mapping[TopicKind, Extent], joined_up_to: Mapping[int, int], letters_since_ms: int
) -> dict[int, int]:
    """Return the first offset of `events` that is counted, by partition; 0 where nothing was ever deleted.

    Labels leave in the order of the impressions and examples in the order of the labels, so the oldest of either that
    is left tells which impressions still have theirs. A dead letter comes after its event in time.

    Args:
        log: The topics.
        extents: Of all topics.
        joined_up_to: Next offset of `events` that the label join has not settled, by partition.
        letters_since_ms: Record time from which on every dead letter is there.
    """
    start = dict(extents["events"].first)
    for kind in ("labeled-impressions", "weighted-examples"):
        for number, first in extents[kind].first.items():
            if first:
                oldest = _oldest_source(log, kind, extents[kind], number)
                found = joined_up_to.get(number, 0) if oldest is None else oldest
                start[number] = max(start.get(number, 0), found)
    if letters_since_ms != ALWAYS:
        for number, offset in log.offsets_since("events", extents["events"], letters_since_ms).items():
            start[number] = max(start[number], offset)
    return start


def _oldest_source(log: TopicLog, kind: TopicKind, extent: Extent, number: int) -> int | None:
    """Return the offset in `events` that the oldest first label of a partition comes from; None when none is left."""
    of_one = Extent({number: extent.first[number]}, {number: extent.end[number]})
    for record in log.records(kind, of_one):
        sources = [labeled.source_offset for labeled in _labels(kind, record) if not labeled.revision]
        if sources:
            return min(sources)
    return None


def _labels(kind: TopicKind, record: LogRecord) -> list[LabeledImpression]:
    try:
        if kind == "labeled-impressions":
            return [decode_labeled(record.value)]
        return [example.labeled for example in decode_examples(record.value)]
    except EventError:
        return []
