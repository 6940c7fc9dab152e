"""A record of `weighted-examples`, and the one order in which plans take records."""

import heapq
from collections.abc import Iterable
from dataclasses import dataclass

from stream.events import WeightedExample


@dataclass(frozen=True)
class ExampleRecord:
    """One record of `weighted-examples`: the unit that a plan never splits.

    Attributes:
        partition: Its partition.
        offset: Its offset there.
        timestamp_ms: Kafka's record time.
        rows: The examples in it; empty when the bytes could not be used.
    """

    partition: int
    offset: int
    timestamp_ms: int
    rows: tuple[WeightedExample, ...]


def in_plan_order(records: Iterable[ExampleRecord]) -> list[ExampleRecord]:
    """Return the records in the one order an update sees them, however they arrived.

    Offset order inside a partition; across partitions the oldest head first.
    """
    partitions: dict[int, list[ExampleRecord]] = {}
    for record in sorted(records, key=lambda record: record.offset):
        partitions.setdefault(record.partition, []).append(record)
    return list(heapq.merge(*(partitions[key] for key in sorted(partitions)), key=merge_key))


def merge_key(record: ExampleRecord) -> tuple[int, int, int]:
    """Return what decides which of several partitions' heads comes first."""
    return (record.timestamp_ms, record.partition, record.offset)
