"""The label join's Faust edge: reads `events`, writes labels and dead letters, acknowledges what is confirmed."""

import asyncio
import time
from collections import deque

import faust
import structlog
from faust.types import EventT, Message, StreamT

from stream.adapter.backlog import AdapterBacklog
from stream.join.metrics import JoinMetrics
from stream.join.partition_join import PartitionJoin
from stream.join.producer_watch import ProducerWatch
from stream.process.watchdog import Progress, start_watchdog
from stream.settings import JoinSettings, KafkaSettings
from stream.topics import topic_name
from stream.unknown_fields import UnknownFields
from stream.worker.delivery import delivered
from stream.worker.faust_app import create_app
from stream.worker.membership import Membership
from stream.worker.ordered_consumer import log_ends
from stream.worker.topic_watches import follow_topics, watch_gone

_READ_AT_ONCE = 500
_READ_WITHIN_SECONDS = 0.05
_SEND_AT_ONCE = 500
_MAX_OUTBOX = 20_000
"""Reading waits above so many unconfirmed records: Kafka takes nothing, so there is no use in reading on."""
_TICK_SECONDS = 0.05


def first_label(settings: JoinSettings) -> str:
    """Return when a user may expect to see the first label, and how to see it sooner."""
    if settings.early_negative:
        return "every impression leaves at once as a negative, and again as a positive when it is clicked"
    after_seconds = settings.window_seconds + settings.lateness_seconds
    return (
        f"{after_seconds:g} s after the first impression; if events cease, no sooner than {settings.quiet_seconds:g} s "
        "after the last; for a trial set MILLSTREAM_JOIN_WINDOW_SECONDS=60"
    )


class JoinAgent:
    """Holds one `PartitionJoin` for each partition of this generation of the group.

    The state of a partition is dropped when the group rebalances: whoever owns it next reads again from the oldest
    unsettled record. Reading never waits for windows, only for unconfirmed sends.

    Args:
        app: The Faust app.
        kafka: Names of the topics.
        settings: Of the label join.
        metrics: What to count in.

    Attributes:
        backlog: What an adapter has still to forward; to be started with the app.
    """

    def __init__(self, app: faust.App, kafka: KafkaSettings, settings: JoinSettings, metrics: JoinMetrics) -> None:
        self._app = app
        self._kafka = kafka
        self._settings = settings
        self._metrics = metrics
        self._topic = topic_name("events", kafka)
        self._joins: dict[int, PartitionJoin] = {}
        self._messages: dict[int, deque[Message]] = {}
        self._room = asyncio.Event()
        self._membership = Membership(app, metrics.group, self._drop)
        self._gone = watch_gone(app, kafka, "join", metrics.group)
        self._moved = 0
        self._unread = 0
        self._producers = ProducerWatch(
            kafka.partitions, lambda mistake: metrics.producer_mistakes.labels(mistake).inc()
        )
        self._unknown_fields = UnknownFields(metrics.unknown_fields.inc)
        self.backlog = AdapterBacklog(kafka)

    @property
    def num_pending(self) -> int:
        """Impressions with an open window."""
        return sum(join.join.num_pending for join in self._joins.values())

    async def read(self, stream: StreamT[bytes]) -> None:
        """Take records as they come; nothing leaves this loop but a cancellation."""
        take = stream.noack_take  # type: ignore[attr-defined]  # Faust's interface type lacks it
        async for events in take(_READ_AT_ONCE, within=_READ_WITHIN_SECONDS):
            await self._gone.look(event.message for event in events if self._membership.owns(event.message))
            for event in events:
                self._receive(event)
            while self._num_outgoing() > _MAX_OUTBOX:
                self._room.clear()
                await self._room.wait()

    async def write(self) -> None:
        """Send what the joins settle, chunk after chunk, and close windows when no record comes to do it."""
        while True:
            self._tick()
            if not await self._send_chunk():
                await asyncio.sleep(_TICK_SECONDS)

    def progress(self) -> Progress:
        """Return a look at this worker for the watchdog."""
        waiting = self._membership.rebalancing or self._unread > 0 or self._num_outgoing() > 0
        return Progress(waiting=waiting, moved=self._moved + self._membership.num_assignments)

    def _drop(self) -> None:
        self._joins.clear()
        self._messages.clear()
        self._room.set()

    def _receive(self, read: EventT[bytes]) -> None:
        message = read.message
        if not self._membership.owns(message):
            self._metrics.group.stale_records.inc()
            return
        join = self._joins.get(message.partition)
        if join is None or message.offset < join.first_offset:
            # The client goes back to before where the join began only to hand all of it out again.
            join = PartitionJoin(self._settings, self._topic, message.partition, message.offset, self._metrics)
            self._joins[message.partition] = join
            self._messages[message.partition] = deque()
        elif message.offset < join.next_offset:
            self._metrics.group.stale_records.inc()
            return
        self._moved += 1
        record_time_ms = _record_time_ms(message)
        if event := join.receive(message.key, message.value, message.offset, record_time_ms):
            self._producers.look(event, message.key, message.partition, message.offset, record_time_ms)
            self._unknown_fields.look(event, message.value or b"")
        # Held for a window to be acknowledged: only its offset is needed.
        message.key = message.value = message.headers = None
        self._messages[message.partition].append(message)

    def _tick(self) -> None:
        unread = 0
        # After the look: what it says was forwarded must have been there to be read when the broker told the end.
        forwarded, ends = self.backlog.forwarded(), log_ends(self._app)
        for partition, end in ends.items():
            join = self._joins.get(partition.partition)
            next_offset = join.next_offset if join else None
            unread += end.unread(next_offset)
            if join is None:
                continue
            if forwarded is None or not end.is_read(next_offset):
                join.tick(end.seen_ms, at_end=False)
            elif end.seen_ms >= forwarded.looked_ms:
                join.tick(min(end.seen_ms, forwarded.until_ms), at_end=True)
        self._unread = unread
        self._cut()
        self._acknowledge()
        self._show()

    def _cut(self) -> None:
        """Close the oldest windows of this worker until it holds no more than its bound."""
        excess = self.num_pending - self._settings.max_pending
        while excess > 0:
            oldest = min(
                (join for join in self._joins.values() if join.join.num_pending),
                key=lambda join: join.join.oldest_due_ms or 0,
            )
            oldest.cut(1)
            excess -= 1

    async def _send_chunk(self) -> bool:
        """Send the head of every outbox; return whether there was something and Kafka has confirmed it."""
        chunks = [
            (number, join, [join.outbox[i] for i in range(min(_SEND_AT_ONCE, len(join.outbox)))])
            for number, join in self._joins.items()
            if join.outbox
        ]
        if not chunks:
            return False
        deliveries = (settlement.delivery for _, _, chunk in chunks for settlement in chunk)
        if not await delivered(self._app, self._kafka, deliveries, self._metrics.send_failures.inc):
            return False
        for number, join, chunk in chunks:
            # A rebalance during the sends has dropped the state: its records will be read again.
            if self._joins.get(number) is join:
                join.confirm(len(chunk), _now_ms())
                self._producers.settle(settlement.ending for settlement in chunk)
                self._moved += len(chunk)
        self._room.set()
        return True

    def _acknowledge(self) -> None:
        for number, messages in self._messages.items():
            position = self._joins[number].position
            while messages and messages[0].offset < position:
                messages.popleft().ack(self._app.consumer)

    def _num_outgoing(self) -> int:
        return sum(len(join.outbox) for join in list(self._joins.values()))

    def _show(self) -> None:
        joins = [join.join for join in self._joins.values()]
        self._metrics.pending.set(self.num_pending)
        self._metrics.waiting.set(sum(join.num_waiting for join in joins))
        self._metrics.outbox.set(self._num_outgoing())
        self._metrics.lag.set(self._unread)
        watermarks = [join.watermark_ms for join in joins if join.watermark_ms]
        if watermarks:
            self._metrics.watermark.set(min(watermarks) / 1000)
        for finding in self._producers.findings(time.monotonic()):
            structlog.get_logger(__name__).warning("producers_mistake", message=finding)


def create_join_app(kafka: KafkaSettings, settings: JoinSettings, metrics: JoinMetrics) -> faust.App:
    """Return the app that runs the label join; every process of the group needs its own `settings.instance`."""
    app = create_app("stream", kafka, instance=settings.instance)
    agent = JoinAgent(app, kafka, settings, metrics)
    events = app.topic(topic_name("events", kafka), key_serializer="raw", value_serializer="raw", value_type=bytes)
    app.agent(events, name="label-join", concurrency=1)(agent.read)
    app.task(agent.write)
    agent.backlog.start()
    follow_topics(app, kafka, [events.get_topic_name()], metrics.group)
    start_watchdog(agent.progress, settings.stall_seconds)
    return app


def _record_time_ms(message: Message) -> int:
    now_ms, stamped_ms = _now_ms(), int((message.timestamp or 0.0) * 1000)
    # No record is newer than now: one stamped by a fast clock must not close the windows of all others. One that bears
    # no time, or none that can be, must not close its own.
    return min(stamped_ms, now_ms) if stamped_ms > 0 else now_ms


def _now_ms() -> int:
    return int(time.time() * 1000)
