"""Mistakes of producers that decode well and spoil the join: seen in a sample, counted, and said once a minute."""

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Literal, get_args

from kafka.partitioner.default import murmur2

from stream.events import Click, EventError, Impression
from stream.join.label_join import Label, LostClick

Mistake = Literal["no_key", "partition", "old_time"]
MISTAKES: tuple[Mistake, ...] = get_args(Mistake)

WHAT: dict[Mistake, str] = {
    "no_key": "have no key: an impression and its clicks meet only by chance",
    "partition": "lie on another partition than murmur2 of their key names: impressions and clicks never meet",
    "old_time": "bear an event time more than a day before their record",
}
REMEDIES: dict[Mistake, str] = {
    "no_key": "key impressions and clicks by the impression id",
    "partition": "have every producer use partitioner=murmur2_random (librdkafka) or its default (Java)",
    "old_time": "check the clock of the producer and the unit of event_time_ms, which is milliseconds",
}
_ORPHANS = "found no impression; see that impressions and clicks are keyed and partitioned alike, and all sent"

_LOOK_AT_ONE_IN = 16
"""The hash is Python's own work, 20 microseconds a key."""
_MAX_AGE_MS = 86_400_000
_SAY_EVERY_SECONDS = 60.0
_MIN_CLICKS = 50
_MAX_ORPHANED = 0.2


def mistake_in(
    event: Impression | Click, key: bytes | None, partition: int, num_partitions: int, record_time_ms: int
) -> Mistake | None:
    """Return what is wrong with a record of `events` that decodes, None if nothing shows.

    Args:
        event: What it holds.
        key: Its Kafka key.
        partition: Where it lies.
        num_partitions: Partitions of the topic.
        record_time_ms: Its CreateTime, epoch milliseconds.
    """
    if key is None:
        return "no_key"
    # The sign is dropped as Java drops it.
    if (murmur2(key) & 0x7FFFFFFF) % num_partitions != partition:
        return "partition"
    return "old_time" if event.event_time_ms < record_time_ms - _MAX_AGE_MS else None


class ProducerWatch:
    """Looks at a sample of the records and at every settled click.

    Args:
        num_partitions: Partitions of `events`.
        count: Counts a mistake.
    """

    def __init__(self, num_partitions: int, count: Callable[[Mistake], object]) -> None:
        self._num_partitions = num_partitions
        self._count = count
        self._seen: Counter[Mistake] = Counter()
        self._looked_at = 0
        self._clicks = 0
        self._orphans = 0
        self._said_seconds = float("-inf")

    def look(
        self, event: Impression | Click, key: bytes | None, partition: int, offset: int, record_time_ms: int
    ) -> None:
        """Look at a record, if it is one of the sample."""
        if offset % _LOOK_AT_ONE_IN:
            return
        self._looked_at += 1
        if mistake := mistake_in(event, key, partition, self._num_partitions, record_time_ms):
            self._seen[mistake] += 1
            self._count(mistake)

    def settle(self, endings: Iterable[Label | LostClick | EventError]) -> None:
        """Note what was written: the clicks in it that found their impression, and those that did not."""
        for ending in endings:
            if isinstance(ending, Label):
                self._clicks += len(ending.labeled.click_ids)
            elif isinstance(ending, LostClick):
                self._clicks += 1
                self._orphans += ending.reason == "orphaned_click"

    def findings(self, now_seconds: float) -> list[str]:
        """Return in words what was seen in the last minute, or longer where few clicks came; nothing in between.

        Args:
            now_seconds: When, on a monotonic clock.
        """
        if now_seconds - self._said_seconds < _SAY_EVERY_SECONDS:
            return []
        self._said_seconds = now_seconds
        lines = [
            f"{seen} of {self._looked_at} events looked at {WHAT[mistake]}; {REMEDIES[mistake]}"
            for mistake, seen in self._seen.items()
        ]
        self._seen.clear()
        self._looked_at = 0
        if self._clicks >= _MIN_CLICKS:
            if self._orphans > _MAX_ORPHANED * self._clicks:
                lines.append(f"{self._orphans} of {self._clicks} clicks {_ORPHANS}")
            self._clicks = self._orphans = 0
        return lines
