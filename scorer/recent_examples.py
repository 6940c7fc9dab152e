"""The end of `weighted-examples`: the rows that a restarted scorer's running means were made of."""

from typing import Any

import structlog
from kafka import KafkaConsumer, TopicPartition

from stream.events import EventError, WeightedExample
from stream.example_batch import decode_examples
from stream.settings import KafkaSettings
from stream.topics import topic_name

_POLL_MS = 200


def recent_examples(kafka: KafkaSettings, num_rows: int) -> list[WeightedExample]:
    """Return the last `num_rows` examples of all partitions, or all there are, in the order of their scores.

    Whichever scorer made them: what is normal is a property of the whole stream. No consumer group is joined.

    Raises:
        kafka.errors.KafkaError: the cluster does not answer.
    """
    consumer = KafkaConsumer(
        **kafka.client_options(), group_id=None, enable_auto_commit=False, auto_offset_reset="earliest"
    )
    try:
        topic = topic_name("weighted-examples", kafka)
        partitions = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic) or ()]
        consumer.assign(partitions)
        first, end = consumer.beginning_offsets(partitions), consumer.end_offsets(partitions)
        examples: list[WeightedExample] = []
        num_records = 1
        # How many rows a record holds is known once it is read, so each look goes twice as far back as the one before.
        while len(examples) < num_rows and any(end[partition] > first[partition] for partition in partitions):
            start = {partition: max(first[partition], end[partition] - num_records) for partition in partitions}
            examples += _read(consumer, start, end)
            end, num_records = start, 2 * num_records
    finally:
        consumer.close()
    return sorted(examples, key=lambda example: example.scored_ms)[-num_rows:]


def _read(
    consumer: KafkaConsumer, start: dict[TopicPartition, int], end: dict[TopicPartition, int]
) -> list[WeightedExample]:
    for partition, offset in start.items():
        consumer.seek(partition, offset)
    examples: list[WeightedExample] = []
    while any(consumer.position(partition) < offset for partition, offset in end.items()):
        for partition, records in consumer.poll(timeout_ms=_POLL_MS).items():
            for record in records:
                if record.offset < end[partition]:
                    examples += _decode(record)
    return examples


def _decode(record: Any) -> list[WeightedExample]:
    try:
        return decode_examples(record.value)
    except EventError as error:
        # The trainer makes the dead letter: it must not be written twice.
        structlog.get_logger(__name__).warning(
            "record_unusable", partition=record.partition, offset=record.offset, reason=error.reason
        )
        return []
