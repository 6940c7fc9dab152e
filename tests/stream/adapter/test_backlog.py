"""What the adapter's group has left unsettled on real Kafka, looked at without joining that group."""

import time
from collections.abc import Iterator
from contextlib import closing

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.structs import OffsetAndMetadata

from stream.adapter.backlog import _MAX_AGE_MS, AdapterBacklog, _admin, _consumer, _Group
from stream.settings import KafkaSettings
from tests.stream.traffic import wait_for

pytestmark = pytest.mark.kafka

MINUTE_MS = 60_000
NOW_MS = int(time.time() * 1000)


@pytest.fixture
def topic(kafka: KafkaSettings) -> str:
    name = f"{kafka.topic_prefix}views"
    with closing(KafkaAdminClient(**kafka.client_options())) as admin:
        admin.create_topics({name: {"num_partitions": 1, "replication_factor": 1}}, wait_for_metadata=True)
    return name


@pytest.fixture
def group(kafka: KafkaSettings) -> Iterator[_Group]:
    with closing(_admin(kafka)) as admin, closing(_consumer(kafka)) as consumer:
        yield _Group(f"{kafka.topic_prefix}adapter", admin, consumer)


def settle(kafka: KafkaSettings, topic: str, offset: int) -> None:
    """Commit as the adapter would have."""
    options = kafka.client_options() | {"group_id": f"{kafka.topic_prefix}adapter", "enable_auto_commit": False}
    with closing(KafkaConsumer(**options)) as consumer:
        consumer.assign([TopicPartition(topic, 0)])
        consumer.commit({TopicPartition(topic, 0): OffsetAndMetadata(offset, "", -1)})


def test_all_before_the_oldest_unsettled_record_counts_as_forwarded(kafka: KafkaSettings, topic: str, group: _Group):
    assert group.forwarded_until(NOW_MS) == NOW_MS, "no adapter has ever run"
    producer = KafkaProducer(**kafka.client_options(), acks="all")
    for age_ms in (2 * MINUTE_MS, 2 * MINUTE_MS, 0):
        producer.send(topic, b"{}", timestamp_ms=NOW_MS - age_ms).get(timeout=30)
    producer.close()

    settle(kafka, topic, 0)
    assert group.forwarded_until(NOW_MS) is None, "killed before it had settled anything"
    settle(kafka, topic, 1)
    assert group.forwarded_until(NOW_MS) is None
    settle(kafka, topic, 2)
    assert group.forwarded_until(NOW_MS) == NOW_MS - _MAX_AGE_MS, "what waits has only just come"
    settle(kafka, topic, 3)
    for _ in range(3):
        assert group.forwarded_until(NOW_MS) == NOW_MS, "nothing waits"


def test_markers_and_what_was_aborted_are_not_waited_for(kafka: KafkaSettings, topic: str, group: _Group):
    producer = KafkaProducer(**kafka.client_options(), acks="all", transactional_id=topic)
    producer.init_transactions()
    for finish in (producer.commit_transaction, producer.abort_transaction):
        producer.begin_transaction()
        producer.send(topic, b"{}", timestamp_ms=NOW_MS - MINUTE_MS)
        finish()
    producer.close()

    settle(kafka, topic, 0)
    wait_for(lambda: group.forwarded_until(NOW_MS) is None)  # markers are written after a commit has returned
    settle(kafka, topic, 1)  # a marker at 1, an aborted record at 2, its marker at 3
    assert group.forwarded_until(NOW_MS) is not None


def test_a_look_takes_back_nothing_that_an_earlier_one_has_proven(kafka: KafkaSettings):
    backlog = AdapterBacklog(kafka)
    assert backlog.forwarded() is None, "before the first look"
    backlog._note(NOW_MS)
    backlog._note(NOW_MS - _MAX_AGE_MS)
    assert backlog.forwarded().until_ms == NOW_MS
    backlog._note(None)
    assert backlog.forwarded() is None
