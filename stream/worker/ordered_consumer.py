"""Faust's Kafka consumer, for agents that acknowledge in offset order and for logs whose offsets have holes.

Transactions leave holes: a commit marker takes an offset and is no record, and what was aborted is never handed out.
"""

import time
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import faust
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread, Consumer, Transport
from faust.types import TP, ConsumerT

from stream.worker.log_end import HandedOut, LogEnd

_REMADE_SECONDS = 60.0
"""So long a worker waits to be given partitions of a topic that was made anew; later ones were begun by others."""


class _ConsumerThread(AIOKafkaConsumerThread):
    """Runs aiokafka's consumer; notes what it hands out, and is handed no record of an aborted transaction."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._handed_out: dict[TP, HandedOut] = {}
        self._log_ends: dict[TP, LogEnd] = {}

    def log_ends(self) -> dict[TP, LogEnd]:
        """Return the last look at the assigned partitions, and have another taken."""
        if not self.thread_loop.is_closed():
            # There, between two steps of the loop that reads: a position and what was handed out belong together.
            self.thread_loop.call_soon_threadsafe(self._look)
        return self._log_ends

    def _look(self) -> None:
        # Faust shows neither the time of the last fetch nor, without a request, the position: ask aiokafka's state.
        subscription = self._consumer and self._consumer._subscription.subscription  # noqa: SLF001
        assignment = subscription and subscription.assignment
        states = {TP(*tp): assignment.state_value(tp) for tp in assignment.tps} if assignment else {}
        self._log_ends = {
            partition: LogEnd(
                offset=state.highwater,
                stable=state.highwater if state.lso is None else state.lso,
                position=state.position,
                handed_out=self._handed_out.get(partition),
                seen_ms=state.timestamp,
            )
            for partition, state in states.items()
            if state.highwater is not None and state.has_valid_position
        }

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        # Faust has no setting for it.
        consumer._isolation_level = "read_committed"  # noqa: SLF001
        return consumer

    async def _fetch_records(self, *args: Any, **options: Any) -> Mapping[TP, list[Any]]:
        records: Mapping[TP, list[Any]] = await super()._fetch_records(*args, **options)
        for partition, batch in records.items():
            before = self._handed_out.get(partition)
            first = min(before.first, batch[0].offset) if before else batch[0].offset
            self._handed_out[TP(*partition)] = HandedOut(first, batch[-1].offset + 1)
        return records

    def assignment(self) -> set[TP]:
        """Return the partitions it was given; none before it runs, when a worker may already be told to stop."""
        return set() if self._consumer is None else super().assignment()

    async def rejoin(self) -> None:
        """Learn what topics there are now, and have the group share out their partitions anew."""
        client = self._ensure_consumer()
        await client._client.force_metadata_update()  # noqa: SLF001
        client._coordinator.request_rejoin()  # noqa: SLF001

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        self._forget()
        await super().on_partitions_revoked(revoked)

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        self._forget()
        await super().on_partitions_assigned(assigned, generation_id)

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Go to the group's places before streams run; one that has none begins, and commits, where the log begins.

        So whoever looks at the group sees all that it has yet to read, even before it has settled a record.
        """
        places: Mapping[TP, int] = await self.call_thread(self._seek_to_places)
        return places

    async def _seek_to_places(self) -> Mapping[TP, int]:
        client = self._ensure_consumer()
        places = {TP(*partition): await client.committed(partition) for partition in client.assignment()}
        if fresh := [partition for partition, offset in places.items() if offset is None]:
            beginnings = {TP(*tp): offset for tp, offset in (await client.beginning_offsets(fresh)).items()}
            await self._commit(beginnings)
            places |= beginnings
        # A client of its own goes back to no offset of 0, and what it read before streams ran would be lost.
        for partition in places.keys() & {TP(*partition) for partition in client.assignment()}:
            client.seek(partition, places[partition])
        return places

    def _forget(self) -> None:
        self._handed_out.clear()
        self._log_ends = {}


class _NeverRead(dict[TP, int | None]):
    """Faust's note of the newest offset read from each partition, kept empty.

    By it Faust would take records for read and drop them when the client goes back, as it does where a topic was made
    anew; and it would note every hole, at a cost that grows with the square of their number. The agents judge offsets.
    """

    def __missing__(self, partition: TP) -> None:
        return None

    def __setitem__(self, partition: TP, offset: int | None) -> None:
        pass

    def update(self, *_: Any, **__: Any) -> None:
        pass


class OrderedConsumer(Consumer):
    """Commits what comes after the newest acknowledged record: acknowledgements come in offset order.

    Faust itself looks for gaps between them, and waits for ever at one that no record will fill.
    """

    _thread: _ConsumerThread

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._read_offset = _NeverRead()
        self._num_assignments = 0
        self._remade: dict[str, float] = {}

    def log_ends(self) -> dict[TP, LogEnd]:
        """Return the ends of the assigned partitions' logs, as of the last call."""
        return self._thread.log_ends()

    async def begin_again(self, topics: Iterable[str]) -> None:
        """Read topics that were made anew from their beginning; a rebalance makes every reader forget the old ones."""
        self._remade |= dict.fromkeys(topics, time.monotonic() + _REMADE_SECONDS)
        await self._thread.call_thread(self._thread.rejoin)

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Take partitions, in a generation of this consumer's own: the broker may let a member keep the old number."""
        # Faust stops it when it gives partitions up, so not where there were none: what is read before its streams run
        # again would be dropped, and where nothing is committed it does not go back.
        self.stop_flow()
        self._num_assignments += 1
        self.app.consumer_generation_id = -self._num_assignments
        topics = {partition.topic for partition in assigned}
        remade_topics = {topic for topic in topics if self._remade.pop(topic, 0.0) > time.monotonic()}
        if remade := {partition: 0 for partition in assigned if partition.topic in remade_topics}:
            for partition in remade:
                self._acked.pop(partition, None)
                self._acked_index.pop(partition, None)
            # The group's place in the old topic may have outlived it.
            await self._commit(remade)
            await self.seek_wait(remade)
        await super().on_partitions_assigned(assigned, self.app.consumer_generation_id)

    def _new_consumer_thread(self) -> AIOKafkaConsumerThread:
        return _ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    def _new_offset(self, tp: TP) -> int | None:
        acknowledged = self._acked[tp]
        if not acknowledged:
            return None
        offset = max(acknowledged) + 1
        acknowledged.clear()
        self._acked_index[tp].clear()
        return offset


class OrderedTransport(Transport):
    """Makes an `OrderedConsumer`."""

    Consumer: ClassVar[type[ConsumerT]] = OrderedConsumer


def log_ends(app: faust.App) -> dict[TP, LogEnd]:
    """Return the ends of the assigned partitions' logs, as of the last call; without those not yet fetched from."""
    consumer: OrderedConsumer = app.consumer  # type: ignore[assignment]
    return consumer.log_ends()


def num_unread(app: faust.App, positions: Mapping[TP, int]) -> int:
    """Return at most how many records of the assigned partitions are still to be settled.

    Args:
        app: The Faust app.
        positions: Offset after the last settled record; a partition is missing before its first.
    """
    return sum(end.unread(positions.get(partition)) for partition, end in log_ends(app).items())
