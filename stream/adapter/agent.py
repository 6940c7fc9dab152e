"""The adapter's Faust edge: one agent a foreign topic, events and dead letters out, acknowledged when confirmed."""

import asyncio
from collections.abc import Sequence
from itertools import groupby

import faust
import structlog
from faust.types import TP, EventT, StreamT

from stream.adapter.mapping import Mapping, Source
from stream.app import Delivery, DeliveryError, Membership, create_app, deliver, follow_topics, watch_gone
from stream.dead_letters import Record, dead_letter, dead_letter_headers
from stream.events import Click, EventError, encode
from stream.metrics import AdapterMetrics
from stream.ordered_consumer import num_unread
from stream.settings import AdapterSettings, KafkaSettings
from stream.topics import topic_name
from stream.watchdog import Progress, start_watchdog

_READ_AT_ONCE = 500
_READ_WITHIN_SECONDS = 0.05
_LOOK_SECONDS = 1.0
_RETRY_SECONDS = 0.5


class AdapterAgent:
    """Writes what becomes of each foreign record before it is acknowledged, so a restart repeats and never loses.

    Args:
        app: The Faust app.
        kafka: Names of our topics.
        metrics: What to count in.
    """

    def __init__(self, app: faust.App, kafka: KafkaSettings, metrics: AdapterMetrics) -> None:
        self._app = app
        self._kafka = kafka
        self._metrics = metrics
        self._positions: dict[TP, int] = {}
        self._membership = Membership(app, metrics.group, self._positions.clear)
        self._gone = watch_gone(app, kafka, "adapter", metrics.group)
        self._unread = 0
        self._moved = 0

    async def forward(self, stream: StreamT[bytes], mapping: Mapping) -> None:
        """Adapt records of one topic as they come; nothing leaves this loop but a cancellation."""
        take = stream.noack_take  # type: ignore[attr-defined]  # Faust's interface type lacks it
        async for events in take(_READ_AT_ONCE, within=_READ_WITHIN_SECONDS):
            current = [event for event in events if self._membership.owns(event.message)]
            self._metrics.group.stale_records.inc(len(events) - len(current))
            await self._gone.look(event.message for event in current)
            settled = [self._settle(event, mapping) for event in current]
            await self._deliver([delivery for _, delivery in settled if delivery is not None])
            for outcome, _ in settled:
                self._metrics.records.labels(outcome).inc()
            # The topic's agent is one and chunks come in order, so each acknowledgement ends a finished prefix.
            # Whoever owns a partition that a rebalance took meanwhile reads it again.
            for event in filter(lambda event: self._membership.owns(event.message), current):
                self._positions[event.message.tp] = event.message.offset + 1
                event.ack()
            self._moved += len(events)

    async def look(self) -> None:
        """Keep an eye on what is unread."""
        while True:
            self._unread = num_unread(self._app, self._positions)
            self._metrics.lag.set(self._unread)
            await asyncio.sleep(_LOOK_SECONDS)

    def progress(self) -> Progress:
        """Return a look at this worker for the watchdog."""
        waiting = self._membership.rebalancing or self._unread > 0
        return Progress(waiting=waiting, moved=self._moved + self._membership.num_assignments)

    def _settle(self, event: EventT[bytes], mapping: Mapping) -> tuple[str, Delivery | None]:
        message = event.message
        try:
            adapted = mapping.adapt(message.value, f"{message.topic}-{message.partition}-{message.offset}")
        except EventError as error:
            headers = dead_letter_headers(
                topic=message.topic,
                partition=message.partition,
                offset=message.offset,
                stage="adapter",
                reason=error.reason,
                error=error,
            )
            letter = dead_letter(message.key, message.value, headers)
            partition = message.partition % self._kafka.partitions
            return "dead_letter", Delivery(topic_name("dead-letters", self._kafka), partition, letter)
        if adapted is None:
            return "skipped", None
        record = Record(adapted.impression_id.encode(), encode(adapted))
        kind = "click" if isinstance(adapted, Click) else "impression"
        return kind, Delivery(topic_name("events", self._kafka), None, record)

    async def _deliver(self, deliveries: Sequence[Delivery]) -> None:
        while True:
            try:
                return await deliver(self._app, deliveries)
            except DeliveryError as error:
                self._metrics.send_failures.inc()
                structlog.get_logger(__name__).warning("send_failed", message=str(error))
                await asyncio.sleep(_RETRY_SECONDS)


def create_adapter_app(
    kafka: KafkaSettings, settings: AdapterSettings, sources: Sequence[Source], metrics: AdapterMetrics
) -> faust.App:
    """Return the app that adapts the sources; every process of the group needs its own `settings.instance`."""
    app = create_app("adapter", kafka, instance=settings.instance)
    adapter = AdapterAgent(app, kafka, metrics)
    for name, of_topic in groupby(sorted(sources, key=lambda source: source.topic), key=lambda source: source.topic):
        _add_agent(app, adapter, name, Mapping(of_topic))
    app.task(adapter.look)
    follow_topics(app, kafka, {source.topic for source in sources}, metrics.group)
    start_watchdog(adapter.progress, settings.stall_seconds)
    return app


def _add_agent(app: faust.App, adapter: AdapterAgent, name: str, mapping: Mapping) -> None:
    async def forward(stream: StreamT[bytes]) -> None:
        await adapter.forward(stream, mapping)

    topic = app.topic(name, key_serializer="raw", value_serializer="raw", value_type=bytes)
    app.agent(topic, name=f"adapter-{name}", concurrency=1)(forward)
