"""Sends events to Kafka, waits for every confirmation, and writes down what was confirmed."""

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec
from kafka import KafkaProducer
from kafka.errors import KafkaError

from stream.cluster.admin import ClusterError, administered
from stream.events import Click, Impression, encode
from stream.play.ledger import LedgerRow, RecordKind
from stream.settings import KafkaSettings
from stream.topics import topic_name

SEND_SECONDS = 30.0
"""How long a send may wait for room or for the topic to be known."""

CLICK_KINDS: frozenset[RecordKind] = frozenset({"click", "late_click", "orphaned_click"})


@dataclass(frozen=True, kw_only=True)
class EventRecord:
    """One record of the `events` topic, with what its sender knows about it.

    Attributes:
        kind: What it is.
        key: Kafka key.
        value: Kafka value.
        event_time_ms: Event time, and the record's CreateTime, so that both are on one clock.
        impression_id: Impression it is, or that it clicks on; None for undecodable bytes.
        click_id: Id of a click.
        click_probability: True probability of a click in time, where it is known.
    """

    kind: RecordKind
    key: bytes
    value: bytes
    event_time_ms: int
    impression_id: str | None = None
    click_id: str | None = None
    click_probability: float | None = None


def record_of(event: Impression | Click, kind: RecordKind, click_probability: float | None = None) -> EventRecord:
    """Return the record of an event, keyed by impression id so that an impression and its clicks share a partition."""
    return EventRecord(
        kind=kind,
        key=event.impression_id.encode(),
        value=encode(event),
        event_time_ms=event.event_time_ms,
        impression_id=event.impression_id,
        click_id=event.click_id if isinstance(event, Click) else None,
        click_probability=click_probability,
    )


class ProducerCounts(msgspec.Struct, kw_only=True):
    """Exact counts of confirmed records, and of those that were not.

    Attributes:
        impressions: First copies of impressions.
        clicks: Clicks inside their window, further clicks on the same impression among them.
        clicked_impressions: Impressions with at least one of those.
        late_clicks: Clicks after their window.
        orphaned_clicks: Clicks on no impression.
        repeated: Second copies of impressions and clicks.
        dead_letters: Records that cannot be decoded.
        failed: Records Kafka did not confirm; they are not in the ledger.
        unsent: Records still due when the producer was stopped; never sent.
    """

    impressions: int = 0
    clicks: int = 0
    clicked_impressions: int = 0
    late_clicks: int = 0
    orphaned_clicks: int = 0
    repeated: int = 0
    dead_letters: int = 0
    failed: int = 0
    unsent: int = 0

    def to_json(self) -> str:
        """Return the counts as one line of JSON."""
        return msgspec.json.encode(self).decode()


class Ledger(Protocol):
    """Where rows of confirmed records go."""

    def append(self, row: LedgerRow) -> None:
        """Add one row."""


class Observer(Protocol):
    """Who watches what is sent, such as metrics."""

    def delivered(self, kind: RecordKind) -> None:
        """Note a confirmed record."""

    def failed(self) -> None:
        """Note a record that was not confirmed."""

    def labeled(self, label: int, click_probability: float | None) -> None:
        """Note an impression whose window has closed."""


class EventProducer:
    """Sends records and keeps the ledger. Not safe for use by several threads.

    Kafka confirms out of sight; `settle` takes the confirmations in the order of sending. A row is written only for a
    confirmed record, that of an impression when its window is over and its label is known.

    Args:
        kafka: The cluster.
        window_seconds: The attribution window that decides a label.
        ledger: Where rows go.
        observer: Who watches.

    Raises:
        ClusterError: no Kafka answers, or it has no `events` topic.
    """

    def __init__(self, kafka: KafkaSettings, window_seconds: float, ledger: Ledger, observer: Observer) -> None:
        self._topic = topic_name("events", kafka)
        self._window_ms = round(window_seconds * 1000)
        self._ledger = ledger
        self._observer = observer
        self._producer = _connect(kafka, self._topic)
        self._outstanding: deque[tuple[EventRecord, Any]] = deque()
        self._open: deque[LedgerRow] = deque()
        self._clicked: set[str] = set()
        self.kinds: Counter[RecordKind] = Counter()
        self._clicked_impressions = 0
        self._failed = 0

    def send(self, record: EventRecord) -> None:
        """Hand one record to Kafka; a record that Kafka does not even take is counted as failed."""
        try:
            future = self._producer.send(
                self._topic, key=record.key, value=record.value, timestamp_ms=record.event_time_ms
            )
        except KafkaError:
            self._fail()
            return
        self._outstanding.append((record, future))

    def settle(self, now_ms: int) -> None:
        """Take the confirmations that have come, and write the impressions whose windows are over.

        Args:
            now_ms: Every click due by then has been handed to `send`.
        """
        while self._outstanding and self._outstanding[0][1].is_done:
            self._confirm(*self._outstanding.popleft())
        if self._outstanding:
            # A click that waits for its confirmation may still turn an open row into a 1.
            now_ms = min(now_ms, self._outstanding[0][0].event_time_ms)
        while self._open and self._open[0].event_time_ms + self._window_ms < now_ms:
            self._write_impression(self._open.popleft())

    def close(self) -> None:
        """Wait for every confirmation, write every row that is left and disconnect."""
        self._producer.close()
        while self._outstanding:
            self._confirm(*self._outstanding.popleft())
        while self._open:
            self._write_impression(self._open.popleft())

    def counts(self) -> ProducerCounts:
        """Return the counts so far."""
        kinds = self.kinds
        return ProducerCounts(
            impressions=kinds["impression"],
            clicks=kinds["click"],
            clicked_impressions=self._clicked_impressions,
            late_clicks=kinds["late_click"],
            orphaned_clicks=kinds["orphaned_click"],
            repeated=kinds["repeated_impression"] + kinds["repeated_click"],
            dead_letters=_total(kinds, ("malformed", "unknown_version", "oversized")),
            failed=self._failed,
        )

    def _confirm(self, record: EventRecord, future: Any) -> None:
        if not future.succeeded():
            self._fail()
            return
        self.kinds[record.kind] += 1
        self._observer.delivered(record.kind)
        row = LedgerRow(
            kind=record.kind,
            partition=future.value.partition,
            offset=future.value.offset,
            event_time_ms=record.event_time_ms,
            impression_id=record.impression_id,
            click_id=record.click_id,
            label=None,
            click_probability=record.click_probability,
        )
        if record.kind == "impression":
            self._open.append(row)
            return
        if record.kind == "click" and record.impression_id is not None:
            self._clicked.add(record.impression_id)
        self._ledger.append(row)

    def _write_impression(self, row: LedgerRow) -> None:
        row.label = int(row.impression_id in self._clicked)
        self._clicked.discard(row.impression_id or "")
        self._clicked_impressions += row.label
        self._ledger.append(row)
        self._observer.labeled(row.label, row.click_probability)

    def _fail(self) -> None:
        self._failed += 1
        self._observer.failed()


def _connect(kafka: KafkaSettings, topic: str) -> KafkaProducer:
    # The administrator finds out within seconds what the producer would try for half a minute.
    with administered(kafka, "list its topics") as admin:
        known = topic in admin.list_topics()
    if not known:
        message = f"topic {topic} does not exist on {kafka.bootstrap}; run 'millstream topics apply'"
        raise ClusterError(message)
    # gzip: the one compression that every client reads without a further package.
    return KafkaProducer(
        **kafka.client_options(),
        acks="all",
        enable_idempotence=True,
        compression_type="gzip",
        linger_ms=20,
        batch_size=64 * 1024,
        max_block_ms=round(SEND_SECONDS * 1000),
        allow_auto_create_topics=False,
    )


def _total(kinds: Counter[RecordKind], names: Iterable[RecordKind]) -> int:
    return sum(kinds[name] for name in names)
