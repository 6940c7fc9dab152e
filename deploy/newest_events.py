"""The newest records of `events`, looked at for what their producers do wrong."""

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing

from stream.cluster.log import Extent, LogRecord, TopicLog
from stream.events import OLDEST_MS, EventError, decode_event
from stream.join.producer_watch import REMEDIES, WHAT, mistake_in
from stream.settings import KafkaSettings

_PER_PARTITION = 200


def newest_events(kafka: KafkaSettings) -> list[LogRecord]:
    """Return the last records of every partition of `events`.

    Raises:
        ClusterError: The cluster cannot be reached, or the topic does not exist.
    """
    with closing(TopicLog(kafka)) as log:
        extent = log.extent("events")
        first = {number: max(extent.first[number], end - _PER_PARTITION) for number, end in extent.end.items()}
        return list(log.records("events", Extent(first=first, end=extent.end)))


def producers_mistakes(records: Iterable[LogRecord], num_partitions: int) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with records of `events`, and the remedy.

    Args:
        records: A sample of the topic.
        num_partitions: Its partitions.
    """
    seen: Counter[tuple[str, str]] = Counter()
    total = 0
    for record in records:
        total += 1
        try:
            event = decode_event(record.value)
        except EventError as error:
            seen[f"cannot be used ({error.reason}) and become dead letters", "see README for the format of events"] += 1
            continue
        if event.event_time_ms < OLDEST_MS:
            seen["bear an event time before the year 2000", REMEDIES["old_time"]] += 1
        elif mistake := mistake_in(event, record.key, record.partition, num_partitions, record.timestamp_ms):
            seen[WHAT[mistake], REMEDIES[mistake]] += 1
    for (what, remedy), count in seen.items():
        yield f"{count} of the {total} newest events {what}", remedy
