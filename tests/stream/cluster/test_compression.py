import asyncio
import sys

import kafka.codec
import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka import TopicPartition as AioTopicPartition
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer

from stream.cluster.compression import CODECS, unreadable_codecs
from stream.settings import KafkaSettings

VALUES = [f"record {number}".encode() * 20 for number in range(300)]


def test_both_clients_read_every_codec():
    assert unreadable_codecs() == []


def test_a_codec_whose_package_is_missing_is_named_with_its_client(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(kafka.codec, "snappy", None)
    monkeypatch.setattr(sys.modules["aiokafka.codec"], "cramjam", None)

    assert unreadable_codecs() == [
        *(("aiokafka", codec) for codec in ("snappy", "lz4", "zstd")),
        ("kafka-python", "snappy"),
    ]


async def read_with_aiokafka(kafka: KafkaSettings, topic: str) -> list[bytes]:
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka.bootstrap, auto_offset_reset="earliest", group_id=None)
    consumer.assign([AioTopicPartition(topic, 0)])
    await consumer.start()
    try:
        return [(await asyncio.wait_for(consumer.getone(), 30)).value for _ in VALUES]
    finally:
        await consumer.stop()


def read_with_kafka_python(kafka: KafkaSettings, topic: str) -> list[bytes]:
    options = kafka.client_options()
    consumer = KafkaConsumer(topic, **options, auto_offset_reset="earliest", group_id=None, consumer_timeout_ms=30_000)
    try:
        return [next(consumer).value for _ in VALUES]
    finally:
        consumer.close()


@pytest.mark.kafka
@pytest.mark.parametrize("codec", CODECS)
async def test_a_topic_that_the_broker_compresses_is_read_by_both_clients(kafka: KafkaSettings, codec: str):
    topic = f"{kafka.topic_prefix}{codec}"
    admin = KafkaAdminClient(**kafka.client_options())
    plan = {"num_partitions": 1, "replication_factor": 1, "configs": {"compression.type": codec}}
    admin.create_topics({topic: plan}, wait_for_metadata=True)
    admin.close()
    producer = KafkaProducer(**kafka.client_options(), acks="all", linger_ms=50)
    for value in VALUES:
        producer.send(topic, value)
    producer.close()

    assert await read_with_aiokafka(kafka, topic) == VALUES
    assert read_with_kafka_python(kafka, topic) == VALUES
