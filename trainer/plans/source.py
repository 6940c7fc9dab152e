"""`weighted-examples` as the trainer reads it: partitions assigned by hand, offsets from the checkpoint."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import closing
from typing import Any

import structlog
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import KafkaError, OffsetOutOfRangeError
from kafka.structs import OffsetAndMetadata
from prometheus_client import Counter

from stream.dead_letters import dead_letter, dead_letter_headers
from stream.events import EventError
from stream.example_batch import decode_examples
from stream.record import Record
from stream.settings import KafkaSettings
from stream.topics import topic_name
from trainer.plans.example_record import ExampleRecord

_SEND_SECONDS = 30.0


class SourceError(RuntimeError):
    """The log cannot be read from where the trainer stands; the message names the gap and the remedy."""


class KafkaExampleSource:
    """Reads the topic with kafka-python `assign` and `seek`.

    Offsets committed to the group are for dashboards only: the truth is in the checkpoint. A record that cannot be
    decoded is a dead letter and a record without rows, so the stream goes on and its offset is accounted for.

    Args:
        kafka: Cluster and topic prefix.
        unreadable: Counts unreadable records by reason.

    Raises:
        SourceError: the topic does not exist.
    """

    def __init__(self, kafka: KafkaSettings, unreadable: Counter) -> None:
        self._kafka = kafka
        self._unreadable = unreadable
        self._topic = topic_name("weighted-examples", kafka)
        self._consumer = example_consumer(kafka)
        try:
            self._partitions = partitions_of(self._consumer, self._topic, kafka)
        except SourceError:
            self._consumer.close()
            raise
        self._consumer.assign([self._at(partition) for partition in self._partitions])
        self._producer: Any = None

    @property
    def num_partitions(self) -> int:
        """How many partitions the topic has."""
        return len(self._partitions)

    def seek(self, offsets: Mapping[int, int]) -> None:
        """Go to the given next offset of every partition.

        Raises:
            SourceError: an offset is no longer, or not yet, in the log.
        """
        self._check(offsets)
        for partition, offset in offsets.items():
            self._consumer.seek(self._at(partition), offset)

    def poll(self, timeout_seconds: float, partitions: Collection[int]) -> list[ExampleRecord]:
        """Return records of the wanted partitions, in offset order inside each.

        Raises:
            SourceError: retention has overtaken the trainer.
        """
        unwanted = [self._at(partition) for partition in self._partitions if partition not in partitions]
        self._consumer.resume(*(self._at(partition) for partition in partitions))
        if unwanted:
            self._consumer.pause(*unwanted)
        try:
            polled = self._consumer.poll(timeout_ms=int(timeout_seconds * 1000))
        except OffsetOutOfRangeError:
            self._check(self.positions())
            raise
        try:
            return [self._decode(raw) for raws in polled.values() for raw in raws]
        except KafkaError:
            # A dead letter was not taken. Whoever asks again must be given the same records again, not the next ones.
            for partition, raws in polled.items():
                self._consumer.seek(partition, raws[0].offset)
            raise

    def positions(self) -> dict[int, int]:
        """Return the next offset that would be read, by partition."""
        return {partition: self._consumer.position(self._at(partition)) for partition in self._partitions}

    def ends(self) -> dict[int, int]:
        """Return the present end offset, by partition."""
        ends = self._consumer.end_offsets([self._at(partition) for partition in self._partitions])
        return {key.partition: offset for key, offset in ends.items()}

    def commit(self, offsets: Mapping[int, int]) -> None:
        """Tell the group coordinator how far the checkpoint is, so that lag shows; nothing depends on it."""
        committed = {self._at(partition): OffsetAndMetadata(offset, "", -1) for partition, offset in offsets.items()}
        try:
            self._consumer.commit(committed, timeout_ms=5_000)
        except KafkaError as error:
            structlog.get_logger(__name__).warning("offset_commit_failed", message=str(error))

    def close(self) -> None:
        """Close the connections."""
        self._consumer.close()
        if self._producer is not None:
            self._producer.close(timeout=_SEND_SECONDS)

    def _check(self, offsets: Mapping[int, int]) -> None:
        beginnings = self._consumer.beginning_offsets([self._at(partition) for partition in self._partitions])
        ends = self.ends()
        for partition, offset in sorted(offsets.items()):
            beginning = beginnings[self._at(partition)]
            place = f"{self._topic} partition {partition}"
            if offset < beginning:
                message = (
                    f"{place} begins at offset {beginning}, the trainer stands at {offset}: {beginning - offset} "
                    "records were deleted before they were learned; raise MILLSTREAM_KAFKA_RETENTION_HOURS, and go on "
                    "at what is left with `millstream trainer skip-lost`, or start a new line with `millstream models "
                    "init`"
                )
                raise SourceError(message)
            if offset > ends[partition]:
                message = (
                    f"{place} ends at offset {ends[partition]}, the trainer stands at {offset}: the topic was made "
                    "anew; restore it, or start a new line with `millstream models init`"
                )
                raise SourceError(message)

    def _decode(self, raw: Any) -> ExampleRecord:
        try:
            rows = tuple(decode_examples(raw.value))
        except EventError as error:
            self._bury(raw, error)
            rows = ()
        return ExampleRecord(raw.partition, raw.offset, raw.timestamp, rows)

    def _bury(self, raw: Any, error: EventError) -> None:
        self._unreadable.labels(error.reason).inc()
        structlog.get_logger(__name__).error(
            "record_unreadable", partition=raw.partition, offset=raw.offset, reason=error.reason, message=str(error)
        )
        headers = dead_letter_headers(
            topic=self._topic,
            partition=raw.partition,
            offset=raw.offset,
            process="trainer",
            reason=error.reason,
            error=error,
        )
        letter = dead_letter(raw.key, raw.value, headers)
        if self._producer is None:
            self._producer = KafkaProducer(**self._kafka.client_options(), acks="all", max_request_size=2 * 1024 * 1024)
        _send(self._producer, letter, self._kafka)

    def _at(self, partition: int) -> TopicPartition:
        return TopicPartition(self._topic, partition)


def write_dead_letters(kafka: KafkaSettings, letters: Sequence[Record]) -> None:
    """Send dead letters, and return when they are confirmed."""
    producer = KafkaProducer(**kafka.client_options(), acks="all")
    try:
        for letter in letters:
            _send(producer, letter, kafka)
    finally:
        producer.close(timeout=_SEND_SECONDS)


def edge_offsets(kafka: KafkaSettings, start: str) -> dict[int, int]:
    """Return the offset of every partition of `weighted-examples` that a new line starts at.

    Args:
        kafka: Cluster and topic prefix.
        start: "beginning" or "end" of what the topic holds now.

    Raises:
        SourceError: the topic does not exist.
    """
    topic = topic_name("weighted-examples", kafka)
    with closing(example_consumer(kafka)) as consumer:
        keys = [TopicPartition(topic, partition) for partition in partitions_of(consumer, topic, kafka)]
        offsets = consumer.beginning_offsets(keys) if start == "beginning" else consumer.end_offsets(keys)
        return {key.partition: offsets[key] for key in keys}


def example_consumer(kafka: KafkaSettings) -> KafkaConsumer:
    """Return a consumer that never moves by itself: no subscription, no automatic commit, no reset."""
    return KafkaConsumer(**kafka.reader_options() | {"group_id": f"{kafka.topic_prefix}trainer"})


def partitions_of(consumer: KafkaConsumer, topic: str, kafka: KafkaSettings) -> list[int]:
    """Return the partitions of a topic.

    Raises:
        SourceError: it does not exist.
    """
    partitions = consumer.partitions_for_topic(topic)
    if not partitions:
        message = f"topic {topic} does not exist at {kafka.bootstrap}; run 'millstream topics apply'"
        raise SourceError(message)
    return sorted(partitions)


def _send(producer: Any, letter: Record, kafka: KafkaSettings) -> None:
    headers, topic = list(letter.headers.items()), topic_name("dead-letters", kafka)
    producer.send(topic, key=letter.key, value=letter.value, headers=headers).get(timeout=_SEND_SECONDS)
