"""Retention overtakes a worker on real Kafka: what is gone is told, counted and written down as a range."""

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.structs import OffsetAndMetadata

from stream.cluster.gone_records import (
    LAST_OFFSET_HEADER,
    GoneRange,
    GoneRecords,
    gone_letter,
    gone_range,
)
from stream.events import Impression, encode
from stream.record import Record
from stream.settings import KafkaSettings
from stream.topics import topic_name
from tests.stream.traffic import Worker, read_all, wait_for


def test_what_lies_below_the_beginning_and_was_wanted_is_gone():
    assert gone_range("events", 1, expected=10, beginning=90) == GoneRange("events", 1, 10, 89)
    assert GoneRange("events", 1, 10, 89).num_records == 80


def test_a_reader_at_or_above_the_beginning_lost_nothing():
    assert gone_range("events", 1, expected=90, beginning=90) is None


def test_the_letter_of_a_range_carries_its_first_and_last_offset():
    letter = gone_letter(GoneRange("events", 1, 10, 89), "join")
    names = ("topic", "partition", "offset", "last_offset", "stage", "reason")
    assert [letter.headers[f"millstream.{name}"] for name in names] == [
        *(b"events", b"1", b"10", b"89", b"join", b"gone")
    ]
    assert letter.value == b""


@dataclass
class Place:
    offset: int
    topic: str = "events"
    partition: int = 0


class Stand:
    """Stands in for a worker's consumer group."""

    def __init__(self, committed: int | None, beginning: int) -> None:
        self.letters: list[tuple[bytes, bytes]] = []
        self.counts: list[float] = []
        self.num_asked = 0
        self.watch = GoneRecords("join", self.counts.append, self)
        self._offsets = (committed, beginning)

    def committed(self, _topic: str, _partition: int) -> int | None:
        return self._offsets[0]

    async def beginning(self, _topic: str, _partition: int) -> int:
        self.num_asked += 1
        return self._offsets[1]

    async def write(self, _partition: int, letter: Record) -> None:
        self.letters.append((letter.headers["millstream.offset"], letter.headers[LAST_OFFSET_HEADER]))

    def read(self, *offsets: int) -> None:
        asyncio.run(self.watch.look([Place(offset) for offset in offsets]))


def test_a_gap_from_the_committed_offset_to_the_beginning_is_gone_once():
    worker = Stand(committed=10, beginning=90)
    worker.read(90, 91)
    worker.read(92)
    assert (worker.letters, worker.counts) == ([(b"10", b"89")], [80])


def test_holes_that_transactions_leave_are_no_loss_and_cost_one_question_a_chunk():
    worker = Stand(committed=None, beginning=0)
    worker.read(0, 2, 4, 6, 8)
    assert (worker.letters, worker.num_asked) == ([], 1)


def test_what_retention_takes_while_the_worker_reads_is_gone_too():
    worker = Stand(committed=0, beginning=50)
    worker.read(0, 1, 50)
    assert worker.letters == [(b"2", b"49")]


def test_a_transaction_marker_leaves_a_gap_that_is_no_loss():
    worker = Stand(committed=10, beginning=0)
    worker.read(10, 12, 15)
    assert worker.letters == []


def test_a_group_that_had_never_read_lost_nothing():
    worker = Stand(committed=None, beginning=90)
    worker.read(90)
    assert worker.letters == []


def test_after_a_rebalance_the_gap_is_judged_from_the_committed_offset_again():
    worker = Stand(committed=10, beginning=90)
    worker.read(90)
    worker.watch.forget()
    worker.read(90)
    assert worker.letters == [(b"10", b"89")] * 2


def leave_only_the_last(kafka: KafkaSettings, topic: str, group: str, values: list[bytes]) -> None:
    """Write the values to partition 0, as if the group had read ten and retention had left the last ten."""
    producer = KafkaProducer(**kafka.client_options(), acks="all")
    for value in values:
        producer.send(topic, key=b"k", value=value, partition=0)
    producer.flush()
    producer.close()
    partition = TopicPartition(topic, 0)
    consumer = KafkaConsumer(**kafka.client_options(), group_id=f"{kafka.topic_prefix}{group}")
    consumer.assign([partition])
    consumer.commit({partition: OffsetAndMetadata(10, "", -1)})
    consumer.close(autocommit=False)
    admin = KafkaAdminClient(**kafka.client_options())
    admin.delete_records({partition: len(values) - 10})
    admin.close()


def gone_letters(kafka: KafkaSettings) -> list[tuple[bytes, ...]]:
    """Return stage, topic and first and last offset of every letter that stands for a range."""
    names = ("stage", "topic", "offset", "last_offset")
    headers = [dict(letter.headers) for letter in read_all(kafka, "dead-letters")]
    return [
        tuple(found[f"millstream.{name}"] for name in names)
        for found in headers
        if found["millstream.reason"] == b"gone"
    ]


@pytest.mark.kafka
def test_what_retention_took_from_the_join_is_told_counted_and_written_down(kafka: KafkaSettings, tmp_path: Path):
    now_ms = int(time.time() * 1000)
    values = [
        encode(Impression(impression_id=f"i{number}", event_time_ms=now_ms, item_id="x", item_text="red shoe"))
        for number in range(100)
    ]
    topic = topic_name("events", kafka)
    leave_only_the_last(kafka, topic, "stream", values)
    with Worker(kafka, "a", tmp_path, window_seconds=0.5, quiet_seconds=0.5) as worker:
        wait_for(lambda: len(read_all(kafka, "labeled-impressions")) == 10)
        assert worker.metric("millstream_stream_gone_records_total") == 80
        assert "records_gone" in worker.log()
        assert '"first_offset": 10' in worker.log()
    assert gone_letters(kafka) == [(b"join", topic.encode(), b"10", b"89")]
