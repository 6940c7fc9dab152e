"""What the adapter's group has left unsettled on real Kafka, looked at by a join that never joins that group."""

import time

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.structs import OffsetAndMetadata

from stream.adapter.backlog import AdapterBacklog
from stream.settings import KafkaSettings
from tests.stream.traffic import wait_for

pytestmark = pytest.mark.kafka


def settle(kafka: KafkaSettings, topic: str, offset: int) -> None:
    """Commit as the adapter would have."""
    consumer = KafkaConsumer(
        **kafka.client_options(), group_id=f"{kafka.topic_prefix}adapter", enable_auto_commit=False
    )
    consumer.assign([TopicPartition(topic, 0)])
    consumer.commit({TopicPartition(topic, 0): OffsetAndMetadata(offset, "", -1)})
    consumer.close()


def test_it_is_open_while_an_old_foreign_record_is_unsettled(kafka: KafkaSettings):
    topic = f"{kafka.topic_prefix}views"
    admin = KafkaAdminClient(**kafka.client_options())
    admin.create_topics({topic: {"num_partitions": 1, "replication_factor": 1}}, wait_for_metadata=True)
    admin.close()
    backlog = AdapterBacklog(kafka, max_age_seconds=2)
    backlog.start()
    wait_for(lambda: not backlog.is_open(), seconds=30)  # no adapter has ever run

    producer = KafkaProducer(**kafka.client_options(), acks="all")
    for _ in range(2):
        producer.send(topic, b"{}", timestamp_ms=int(time.time() * 1000) - 60_000).get(timeout=30)
    settle(kafka, topic, 1)
    wait_for(backlog.is_open, seconds=30)

    settle(kafka, topic, 2)
    wait_for(lambda: not backlog.is_open(), seconds=30)
    producer.close()


def test_the_marker_of_a_transaction_is_no_record_to_wait_for(kafka: KafkaSettings):
    topic = f"{kafka.topic_prefix}views"
    admin = KafkaAdminClient(**kafka.client_options())
    admin.create_topics({topic: {"num_partitions": 1, "replication_factor": 1}}, wait_for_metadata=True)
    admin.close()
    producer = KafkaProducer(**kafka.client_options(), acks="all", transactional_id=topic)
    producer.init_transactions()
    producer.begin_transaction()
    producer.send(topic, b"{}", timestamp_ms=int(time.time() * 1000) - 60_000)
    producer.commit_transaction()
    producer.close()

    settle(kafka, topic, 0)
    backlog = AdapterBacklog(kafka, max_age_seconds=2)
    backlog.start()
    time.sleep(3)
    assert backlog.is_open()
    settle(kafka, topic, 1)  # the marker stands at 1 and the log ends at 2
    wait_for(lambda: not backlog.is_open(), seconds=30)
