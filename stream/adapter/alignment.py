"""Merges the partitions of several topics in event time, so that no topic runs ahead of another while catching up."""

import heapq
from collections import deque
from collections.abc import Hashable, Mapping
from typing import Generic, TypeVar

P = TypeVar("P", bound=Hashable)
T = TypeVar("T")


class Alignment(Generic[P, T]):
    """Holds what was read ahead and gives the oldest first, in offset order within a partition.

    A join downstream takes the newest event time for the time that it is: were clicks forwarded before the impressions
    that they belong to, or impressions of an hour before the clicks of that hour, windows would close without them.

    Args:
        max_held: Above so many items of a partition, reading it should pause.
    """

    def __init__(self, max_held: int) -> None:
        self._max_held = max_held
        self._held: dict[P, deque[tuple[int, T]]] = {}
        self.num_held = 0

    def add(self, partition: P, time_ms: int, item: T) -> None:
        """Hold the next item of a partition.

        Args:
            partition: Where it was read.
            time_ms: Its event time; 0 for one without, which waits for nothing but what was read before it.
            item: What to give back.
        """
        self._held.setdefault(partition, deque()).append((time_ms, item))
        self.num_held += 1

    def release(self, ends: Mapping[P, int | None], limit: int) -> list[tuple[P, T]]:
        """Return the oldest items that nothing unread can precede, oldest first.

        Args:
            ends: For every partition that is read, when it was last known to be read to its end, in epoch milliseconds;
                None while it is not. One that is silent at its end holds up nobody, one that is behind all others.
            limit: Most items to return.
        """
        until_ms = min((end or 0 for partition, end in ends.items() if not self._held.get(partition)), default=None)
        heads = [
            (items[0][0], index, partition) for index, (partition, items) in enumerate(self._held.items()) if items
        ]
        heapq.heapify(heads)
        released: list[tuple[P, T]] = []
        while heads and len(released) < limit:
            time_ms, index, partition = heads[0]
            if until_ms is not None and time_ms > until_ms:
                break
            items = self._held[partition]
            released.append((partition, items.popleft()[1]))
            if items:
                heapq.heapreplace(heads, (items[0][0], index, partition))
                continue
            heapq.heappop(heads)
            end = ends.get(partition) or 0
            until_ms = end if until_ms is None else min(until_ms, end)
        self.num_held -= len(released)
        return released

    def is_full(self, partition: P) -> bool:
        """Return whether reading the partition should pause until others have caught up."""
        return len(self._held.get(partition, ())) >= self._max_held

    def drop(self, partition: P) -> None:
        """Forget what is held of a partition."""
        self.num_held -= len(self._held.pop(partition, ()))

    def clear(self) -> None:
        """Forget everything."""
        self._held.clear()
        self.num_held = 0


def is_aligned(assigned: Mapping[str, set[int]], counts: Mapping[str, int], num_outputs: int) -> bool:
    """Return whether what one worker aligns is all that can meet downstream.

    It is when the worker reads every partition; or when it reads the same partition numbers of every topic, and each
    topic has as many as the output, provided that all are keyed alike: then each output partition has one writer.

    Args:
        assigned: Partition numbers the worker reads, by topic.
        counts: Partitions of each topic.
        num_outputs: Partitions of the topic written to.
    """
    reads_all = all(len(assigned.get(topic, ())) == count for topic, count in counts.items())
    alike = len({frozenset(assigned.get(topic, ())) for topic in counts}) == 1
    return reads_all or (alike and set(counts.values()) == {num_outputs})
