"""The adapter's Faust edge: one agent a foreign topic, events and dead letters out, acknowledged when confirmed."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import faust
import structlog
from faust.types import TP, EventT, Message, StreamT

from stream.adapter.alignment import Alignment, is_aligned
from stream.adapter.mapping import Mapping, Source
from stream.adapter.metrics import AdapterMetrics
from stream.dead_letters import dead_letter, dead_letter_headers
from stream.events import Click, EventError, encode
from stream.process.watchdog import Progress, start_watchdog
from stream.record import Delivery, Record
from stream.settings import AdapterSettings, KafkaSettings
from stream.worker.delivery import delivered
from stream.worker.faust_app import create_app
from stream.worker.membership import Membership
from stream.worker.ordered_consumer import log_ends, num_unread
from stream.worker.topic_watches import follow_topics, watch_gone

_READ_AT_ONCE = 500
_READ_WITHIN_SECONDS = 0.05
_SEND_AT_ONCE = 500
_MAX_HELD = 4_000
"""Of one partition: an event has about 1 KB, and a fetch that was under way may add 1 MiB."""
_TICK_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class _Settled:
    """A foreign record and what becomes of it; `first` is where its reading began."""

    message: Message
    first: int
    outcome: str
    delivery: Delivery | None


class AdapterAgent:
    """Writes what becomes of each foreign record before it is acknowledged, so a restart repeats and never loses.

    Records are forwarded in event time over all partitions of this worker: after an outage no topic runs ahead of
    another. Reading never waits for that; a partition that is far ahead is not fetched until the others catch up.

    Args:
        app: The Faust app.
        kafka: Names of our topics.
        metrics: What to count in.
        topics: Names of the foreign topics.
    """

    def __init__(self, app: faust.App, kafka: KafkaSettings, metrics: AdapterMetrics, topics: Sequence[str]) -> None:
        self._app = app
        self._kafka = kafka
        self._metrics = metrics
        self._alignment: Alignment[TP, _Settled] = Alignment(_MAX_HELD)
        self._first: dict[TP, int] = {}
        self._received: dict[TP, int] = {}
        self._positions: dict[TP, int] = {}
        self._held_back: set[TP] = set()
        self._membership = Membership(app, metrics.group, self._drop)
        self._gone = watch_gone(app, kafka, "adapter", metrics.group)
        self._topics = topics
        app.on_partitions_assigned.connect(self._check_share)  # type: ignore[arg-type]  # its types forbid named arguments
        self._unread = 0
        self._moved = 0

    async def read(self, stream: StreamT[bytes], mapping: Mapping) -> None:
        """Adapt records of one topic as they come; nothing leaves this loop but a cancellation."""
        take = stream.noack_take  # type: ignore[attr-defined]  # Faust's interface type lacks it
        async for events in take(_READ_AT_ONCE, within=_READ_WITHIN_SECONDS):
            await self._gone.look(event.message for event in events if self._membership.owns(event.message))
            for event in events:
                self._receive(event, mapping)
            self._hold_back({event.message.tp for event in events})

    async def write(self) -> None:
        """Send what may leave, chunk after chunk, oldest first."""
        while True:
            released = self._alignment.release(self._read_until(), _SEND_AT_ONCE)
            chunk = [settled for _, settled in released]
            deliveries = [settled.delivery for settled in chunk if settled.delivery is not None]
            while not await delivered(self._app, self._kafka, deliveries, self._metrics.send_failures.inc):
                pass
            for settled in chunk:
                self._metrics.records.labels(settled.outcome).inc()
                # What a rebalance, or the client going back, took during the sends is read again.
                if self._first.get(settled.message.tp) == settled.first and self._membership.owns(settled.message):
                    self._positions[settled.message.tp] = settled.message.offset + 1
                    settled.message.ack(self._app.consumer)
            self._moved += len(chunk)
            self._hold_back(self._app.consumer.assignment())
            self._show()
            if not chunk:
                await asyncio.sleep(_TICK_SECONDS)

    def progress(self) -> Progress:
        """Return a look at this worker for the watchdog."""
        waiting = self._membership.rebalancing or self._unread > 0 or self._alignment.num_held > 0
        return Progress(waiting=waiting, moved=self._moved + self._membership.num_assignments)

    def _drop(self) -> None:
        self._alignment.clear()
        self._first.clear()
        self._received.clear()
        self._positions.clear()
        self._held_back.clear()

    def _receive(self, event: EventT[bytes], mapping: Mapping) -> None:
        message = event.message
        if not self._membership.owns(message):
            self._metrics.group.stale_records.inc()
            return
        self._moved += 1
        if message.offset < self._first.setdefault(message.tp, message.offset):
            # The client goes back to before where reading began only to hand all of it out again.
            self._alignment.drop(message.tp)
            self._first[message.tp] = message.offset
        self._received[message.tp] = message.offset + 1
        time_ms, settled = self._settle(message, mapping)
        # Held until it is sent: of the message only the offset is needed.
        message.key = message.value = message.headers = None
        self._alignment.add(message.tp, time_ms, settled)

    def _settle(self, message: Message, mapping: Mapping) -> tuple[int, _Settled]:
        """Return what becomes of a record, and its event time, 0 without one."""
        first = self._first[message.tp]
        try:
            adapted = mapping.adapt(message.value, f"{message.topic}-{message.partition}-{message.offset}")
        except EventError as error:
            headers = dead_letter_headers(
                topic=message.topic,
                partition=message.partition,
                offset=message.offset,
                process="adapter",
                reason=error.reason,
                error=error,
            )
            letter = dead_letter(message.key, message.value, headers)
            partition = message.partition % self._kafka.partitions
            return 0, _Settled(message, first, "dead_letter", Delivery("dead-letters", partition, letter))
        if adapted is None:
            return 0, _Settled(message, first, "skipped", None)
        record = Record(adapted.impression_id.encode(), encode(adapted))
        kind = "click" if isinstance(adapted, Click) else "impression"
        now_ms, created_ms = int(time.time() * 1000), self._create_time_ms(message)
        delivery = Delivery("events", None, record, created_ms)
        # As the join does: no event is newer than its record, and no record newer than now.
        return min(adapted.event_time_ms, created_ms or now_ms, now_ms), _Settled(message, first, kind, delivery)

    def _create_time_ms(self, message: Message) -> int | None:
        """Return the foreign record's CreateTime, which the event keeps: by it the join judges clocks and lateness.

        None, for the time of sending, where it lies in the future, or so far back that retention of `events` would
        delete the record before it is read.
        """
        now_ms, created_ms = int(time.time() * 1000), round((message.timestamp or 0) * 1000)
        oldest_ms = now_ms - int(self._kafka.retention_hours * 3_600_000 / 2)
        return created_ms if oldest_ms <= created_ms <= now_ms else None

    def _read_until(self) -> dict[TP, int | None]:
        """Return when each partition was last known to be read to its end, None for those that are not."""
        ends = log_ends(self._app)
        return {
            partition: ends[partition].seen_ms
            if partition in ends and ends[partition].is_read(self._received.get(partition))
            else None
            for partition in self._app.consumer.assignment()
        }

    def _hold_back(self, partitions: set[TP]) -> None:
        """Have Faust fetch no more of what is far ahead; what it has fetched comes all the same."""
        for partition in partitions:
            if self._alignment.is_full(partition):
                self._held_back.add(partition)
                self._app.consumer.on_buffer_full(partition)
            elif partition in self._held_back:
                self._held_back.remove(partition)
                self._app.consumer.on_buffer_drop(partition)

    async def _check_share(self, _app: Any, assigned: set[TP], **_: Any) -> None:
        """Say it when other workers of the group write to the same partitions of `events`, at a pace of their own."""
        counts = {topic: self._app.consumer.topic_partitions(topic) or 0 for topic in self._topics}
        share = {topic: {tp.partition for tp in assigned if tp.topic == topic} for topic in self._topics}
        if not is_aligned(share, counts, self._kafka.partitions):
            structlog.get_logger(__name__).warning(
                "alignment_partial",
                message="event times are aligned within a worker only: clicks may be lost when one catches up; run one"
                f" adapter, or give every source topic {self._kafka.partitions} partitions keyed by impression id",
            )

    def _show(self) -> None:
        self._unread = num_unread(self._app, self._positions)
        self._metrics.lag.set(self._unread)
        self._metrics.held.set(self._alignment.num_held)


def create_adapter_app(
    kafka: KafkaSettings, settings: AdapterSettings, sources: Sequence[Source], metrics: AdapterMetrics
) -> faust.App:
    """Return the app that adapts the sources; every process of the group needs its own `settings.instance`."""
    app = create_app("adapter", kafka, instance=settings.instance)
    mappings = {
        name: Mapping(of_topic)
        for name, of_topic in groupby(sorted(sources, key=lambda source: source.topic), key=lambda source: source.topic)
    }
    adapter = AdapterAgent(app, kafka, metrics, list(mappings))
    for name, mapping in mappings.items():
        _add_agent(app, adapter, name, mapping)
    app.task(adapter.write)
    follow_topics(app, kafka, list(mappings), metrics.group)
    start_watchdog(adapter.progress, settings.stall_seconds)
    return app


def _add_agent(app: faust.App, adapter: AdapterAgent, name: str, mapping: Mapping) -> None:
    async def read(stream: StreamT[bytes]) -> None:
        await adapter.read(stream, mapping)

    topic = app.topic(name, key_serializer="raw", value_serializer="raw", value_type=bytes)
    app.agent(topic, name=f"adapter-{name}", concurrency=1)(read)
