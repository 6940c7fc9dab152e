"""One assigned partition of `events`: its label join, what waits to be sent, and what may be acknowledged."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from stream.dead_letters import dead_letter, dead_letter_headers
from stream.events import OLDEST_MS, Click, EventError, Impression, decode_event, encode
from stream.join.ack_prefix import AckPrefix
from stream.join.label_join import ClosedWindow, Ending, Label, LabelJoin, LostClick
from stream.join.metrics import JoinMetrics
from stream.record import Delivery, Record
from stream.settings import JoinSettings


@dataclass(frozen=True, slots=True)
class Settlement:
    """What is written, to the source's partition number, and what it settles once Kafka has confirmed it."""

    delivery: Delivery
    offsets: tuple[int, ...]
    ending: Label | LostClick | EventError


class PartitionJoin:
    """Takes raw records and gives records to send; time and delivery are the caller's.

    Every record read ends in exactly one way: in a label, as a dead letter, or as a repeat. `position` tells up to
    where all have ended and are confirmed.

    Args:
        settings: Of the label join.
        topic: Full name of the events topic.
        partition: Its partition.
        first_offset: Where reading begins; anything but 0 means that an earlier run settled what is before.
        metrics: What to count in.
    """

    def __init__(
        self, settings: JoinSettings, topic: str, partition: int, first_offset: int, metrics: JoinMetrics
    ) -> None:
        self._topic = topic
        self._partition = partition
        self._max_ahead_ms = int(settings.max_ahead_seconds * 1000)
        self._metrics = metrics
        self._prefix = AckPrefix(first_offset)
        # A click's own bytes are kept: it may end as a dead letter. An impression is only kept decoded.
        self._raw_clicks: dict[int, tuple[bytes | None, bytes | None]] = {}
        self.join = LabelJoin(settings, partition, from_start=first_offset == 0)
        self.first_offset = first_offset
        self.next_offset = first_offset
        self.outbox: deque[Settlement] = deque()
        self._num_confirmed = 0
        # Closed windows whose labels left before, and how many records Kafka must have confirmed by then.
        self._closed: deque[tuple[int, ClosedWindow]] = deque()

    @property
    def position(self) -> int:
        """Offset up to which, exclusive, every record is settled and confirmed."""
        return self._prefix.position

    def receive(
        self, key: bytes | None, raw: bytes | None, offset: int, record_time_ms: int
    ) -> Impression | Click | None:
        """Take the next record and return the event in it, None if it is of no use; never raises for what is in it."""
        self.next_offset = offset + 1
        self._prefix.read(offset)
        try:
            event = decode_event(raw)
            self._check_time(event, record_time_ms)
        except EventError as error:
            self._metrics.records.labels("dead_letter").inc()
            self._write_off(error, offset, key, raw)
            return None
        if isinstance(event, Click):
            self._raw_clicks[offset] = (key, raw)
        self._metrics.records.labels("click" if isinstance(event, Click) else "impression").inc()
        self._settle(self.join.add(event, offset, record_time_ms))
        return event

    def tick(self, now_ms: int, *, at_end: bool) -> None:
        """Let wall time close windows; see `LabelJoin.tick`."""
        self._settle(self.join.tick(now_ms, at_end=at_end))

    def cut(self, count: int) -> None:
        """Close the oldest windows early."""
        self._settle(self.join.cut(count))

    def confirm(self, count: int, now_ms: int) -> None:
        """Note that Kafka has the first `count` records of the outbox."""
        for _ in range(count):
            settled = self.outbox.popleft()
            for offset in settled.offsets:
                self._finish(offset)
            self._count(settled.ending, now_ms)
        self._num_confirmed += count
        self._finish_closed()

    def _check_time(self, event: Impression | Click, record_time_ms: int) -> None:
        ahead_ms = event.event_time_ms - record_time_ms
        if ahead_ms > self._max_ahead_ms:
            message = (
                f"event_time_ms {event.event_time_ms} lies {ahead_ms / 1000:.0f} s ahead of its record; "
                "check the producer's clock and that the unit is milliseconds"
            )
            raise EventError("future_time", message)
        if event.event_time_ms < OLDEST_MS:
            message = f"event_time_ms {event.event_time_ms} lies before the year 2000; the unit is milliseconds"
            raise EventError("past_time", message)

    def _settle(self, endings: Iterable[Ending]) -> None:
        for ending in endings:
            if isinstance(ending, Label):
                labeled_key = ending.labeled.impression.impression_id.encode()
                record = Record(labeled_key, encode(ending.labeled))
                delivery = Delivery("labeled-impressions", self._partition, record)
                self.outbox.append(Settlement(delivery, ending.offsets, ending))
            elif isinstance(ending, LostClick):
                key, raw = self._raw_clicks[ending.offset]
                self._write_off(ending, ending.offset, key, raw)
            elif isinstance(ending, ClosedWindow):
                self._closed.append((self._num_confirmed + len(self.outbox), ending))
            else:
                self._metrics.repeats.labels("click" if isinstance(ending.event, Click) else "impression").inc()
                self._finish(ending.offset)
        self._finish_closed()

    def _write_off(self, ending: LostClick | EventError, offset: int, key: bytes | None, raw: bytes | None) -> None:
        if isinstance(ending, LostClick):
            click = ending.click
            error: EventError | str = f"click {click.click_id} on impression {click.impression_id}: no label takes it"
        else:
            error = ending
        headers = dead_letter_headers(
            topic=self._topic,
            partition=self._partition,
            offset=offset,
            process="join",
            reason=ending.reason,
            error=error,
        )
        delivery = Delivery("dead-letters", self._partition, dead_letter(key, raw, headers))
        self.outbox.append(Settlement(delivery, (offset,), ending))

    def _finish_closed(self) -> None:
        while self._closed and self._closed[0][0] <= self._num_confirmed:
            _, window = self._closed.popleft()
            for offset in window.offsets:
                self._finish(offset)
            if window.window_cut:
                self._metrics.windows_cut.inc()

    def _finish(self, offset: int) -> None:
        self._raw_clicks.pop(offset, None)
        self._prefix.finish(offset)

    def _count(self, ending: Label | LostClick | EventError, now_ms: int) -> None:
        if isinstance(ending, Label):
            self._metrics.count_label(ending.labeled, now_ms)
        else:
            self._metrics.dead_letters.labels(ending.reason).inc()
            if isinstance(ending, LostClick):
                self._metrics.count_lost_click(ending.reason)
