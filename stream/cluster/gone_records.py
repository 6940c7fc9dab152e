"""Records that retention deleted before a worker read them: found, told and written down, never passed in silence."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

import structlog

from stream.dead_letters import GONE, dead_letter, dead_letter_headers
from stream.record import Record

LAST_OFFSET_HEADER = "millstream.last_offset"
"""Of the dead letter that stands for a range: its `.offset` is the first offset, this one the last."""


@dataclass(frozen=True, slots=True)
class GoneRange:
    """Offsets of a partition that were deleted before they were read.

    Attributes:
        topic: Full name of the topic.
        partition: Its partition.
        first: First offset that is gone.
        last: Last one.
    """

    topic: str
    partition: int
    first: int
    last: int

    @property
    def num_records(self) -> int:
        """Offsets in the range; one that a transaction marker had taken counts too, for nobody can tell any more."""
        return self.last - self.first + 1

    def __str__(self) -> str:
        return f"{self.topic} partition {self.partition}: offsets {self.first} to {self.last}"


def gone_range(topic: str, partition: int, *, expected: int, beginning: int) -> GoneRange | None:
    """Return what is gone of a partition, or None.

    Args:
        topic: Full name of the topic.
        partition: Its partition.
        expected: Offset that the reader wanted next.
        beginning: Where what it can still read begins.
    """
    return GoneRange(topic, partition, expected, beginning - 1) if expected < beginning else None


def tell_gone(gone: GoneRange) -> None:
    """Write the one loud line."""
    structlog.get_logger(__name__).error(
        "records_gone",
        topic=gone.topic,
        partition=gone.partition,
        first_offset=gone.first,
        last_offset=gone.last,
        records=gone.num_records,
        why="retention deleted them before they were read",
        remedy="raise MILLSTREAM_KAFKA_RETENTION_HOURS above the longest outage",
    )


def gone_letter(gone: GoneRange, process: str) -> Record:
    """Return the dead letter that stands for the whole range; the records themselves are no more."""
    headers = dead_letter_headers(
        topic=gone.topic,
        partition=gone.partition,
        offset=gone.first,
        process=process,
        reason=GONE,
        error=f"{gone.num_records} records were deleted by retention before they were read",
    )
    return dead_letter(None, None, headers | {LAST_OFFSET_HEADER: str(gone.last).encode()})


class Place(Protocol):
    """Where a record stood in Kafka."""

    topic: str
    partition: int
    offset: int


class Group(Protocol):
    """The consumer group, as the watch sees it."""

    def committed(self, topic: str, partition: int) -> int | None:
        """Return where the group stood when it was given a partition; None where it had never been."""

    async def beginning(self, topic: str, partition: int) -> int:
        """Return where a partition begins now."""

    async def write(self, partition: int, letter: Record) -> None:
        """Send a dead letter for a partition, and return when it is confirmed."""


class GoneRecords:
    """Watches the offsets a worker is handed: where one is missing below the log's beginning, records are gone.

    Faust's client goes on at the beginning of what is left when retention has overtaken it, and says nothing. A gap
    above the beginning is no loss: a transaction marker or an aborted record stands there.

    Args:
        process: Its name, as dead letters name it.
        count: Takes the number of records that are gone.
        group: The consumer group.
    """

    def __init__(self, process: str, count: Callable[[float], None], group: Group) -> None:
        self._process = process
        self._count = count
        self._group = group
        self._next: dict[tuple[str, int], int] = {}

    async def look(self, places: Iterable[Place]) -> None:
        """Look at records that were just read, in their order; return when every loss before them is written down."""
        # Asked once a look and only where there is a gap: a log written in transactions has one after every record.
        beginnings: dict[tuple[str, int], int] = {}
        for place in places:
            key = (place.topic, place.partition)
            expected = self._next.get(key, self._group.committed(*key))
            self._next[key] = place.offset + 1
            if expected is not None and expected < place.offset:
                if key not in beginnings:
                    beginnings[key] = await self._group.beginning(*key)
                gone = gone_range(*key, expected=expected, beginning=min(place.offset, beginnings[key]))
                if gone is not None:
                    tell_gone(gone)
                    self._count(gone.num_records)
                    await self._group.write(gone.partition, gone_letter(gone, self._process))

    def forget(self) -> None:
        """Forget the partitions: the next generation begins where the group has committed."""
        self._next.clear()
