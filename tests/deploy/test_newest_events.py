import time

import pytest
from kafka import KafkaProducer

from deploy.newest_events import newest_events, producers_mistakes
from stream.cluster.log import LogRecord
from stream.events import Click, encode
from stream.settings import KafkaSettings
from stream.topics import topic_name

T0 = 1_700_000_000_000
HOME = 0
"""Partition of four that murmur2 gives to the key i1."""


def record(
    partition: int = HOME, *, key: bytes | None = b"i1", time_ms: int = T0, value: bytes | None = None
) -> LogRecord:
    click = Click(click_id="c", impression_id="i1", event_time_ms=time_ms)
    return LogRecord(partition, 0, encode(click) if value is None else value, {}, T0, key)


def test_what_lies_where_its_key_belongs_is_right():
    assert list(producers_mistakes([record()] * 3, 4)) == []


@pytest.mark.parametrize(
    ("wrong", "what", "remedy"),
    [
        (record(HOME + 1), "another partition than murmur2", "murmur2_random"),
        (record(key=None), "have no key", "key impressions and clicks"),
        (record(time_ms=T0 // 1000), "before the year 2000", "milliseconds"),
        (record(time_ms=T0 - 2 * 86_400_000), "more than a day before", "clock"),
        (record(time_ms=T0 * 1000), "cannot be used (malformed)", "README"),
        (record(value=b"{"), "cannot be used (malformed)", "README"),
    ],
)
def test_a_mistake_is_counted_and_comes_with_its_remedy(wrong, what, remedy):
    [(found, advice)] = producers_mistakes([record(), wrong, wrong], 4)

    assert found.startswith("2 of the 3 newest events")
    assert what in found
    assert remedy in advice


@pytest.mark.kafka
def test_the_newest_events_of_each_partition_are_read_with_key_and_time(kafka: KafkaSettings):
    producer = KafkaProducer(**kafka.client_options(), acks="all")
    now_ms = int(time.time() * 1000)
    for number in range(250):
        click = Click(click_id=f"c{number}", impression_id="i1", event_time_ms=now_ms)
        producer.send(topic_name("events", kafka), encode(click), key=b"i1", partition=0, timestamp_ms=now_ms)
    producer.close()

    records = newest_events(kafka)

    assert [record.offset for record in records] == list(range(50, 250))
    assert {(record.key, record.timestamp_ms) for record in records} == {(b"i1", now_ms)}
