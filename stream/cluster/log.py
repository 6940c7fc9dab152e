"""Reads a topic between offsets that are fixed beforehand; belongs to no consumer group."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

from kafka import KafkaConsumer, TopicPartition

from stream.cluster.admin import ClusterError, require_cluster
from stream.cluster.gone_records import GoneRange, tell_gone
from stream.cluster.reader import poll
from stream.settings import KafkaSettings
from stream.topics import TopicKind, topic_name

_POLL_MS = 500
_SILENT_POLLS = 60


@dataclass(frozen=True)
class LogRecord:
    """One record as bytes.

    Attributes:
        partition: Its partition.
        offset: Its offset there.
        value: Its value.
        headers: Its headers by name.
        timestamp_ms: Its record time.
        key: Its key.
    """

    partition: int
    offset: int
    value: bytes | None
    headers: dict[str, bytes]
    timestamp_ms: int = 0
    key: bytes | None = None


@dataclass(frozen=True)
class Extent:
    """Where a topic began and ended at one moment, by partition; the end is the offset after the last record."""

    first: dict[int, int]
    end: dict[int, int]


class TopicLog:
    """A cluster's topics, read by assignment.

    Args:
        kafka: Cluster and topic prefix.

    Attributes:
        gone: What retention deleted between the moment an extent was fixed and its being read.

    Raises:
        ClusterError: The cluster cannot be reached.
    """

    def __init__(self, kafka: KafkaSettings) -> None:
        self._kafka = kafka
        require_cluster(kafka)
        self._consumer = KafkaConsumer(**kafka.reader_options(), max_poll_records=5_000)
        self.gone: list[GoneRange] = []

    def extent(self, kind: TopicKind) -> Extent:
        """Return where the topic begins and ends now.

        Raises:
            ClusterError: The topic does not exist.
        """
        topic = topic_name(kind, self._kafka)
        numbers = self._consumer.partitions_for_topic(topic)
        if not numbers:
            message = f"topic {topic} does not exist at {self._kafka.bootstrap}; run 'millstream topics apply'"
            raise ClusterError(message)
        partitions = [TopicPartition(topic, number) for number in sorted(numbers)]
        first = self._consumer.beginning_offsets(partitions)
        end = self._consumer.end_offsets(partitions)
        return Extent(
            first={key.partition: offset for key, offset in first.items()},
            end={key.partition: offset for key, offset in end.items()},
        )

    def offsets_since(self, kind: TopicKind, extent: Extent, since_ms: int) -> dict[int, int]:
        """Return, by partition, the first offset inside the extent whose record time is `since_ms` or later.

        The extent's end where there is none.
        """
        topic = topic_name(kind, self._kafka)
        found = self._consumer.offsets_for_times({TopicPartition(topic, number): since_ms for number in extent.first})
        at = {key.partition: place.offset for key, place in found.items() if place is not None}
        return {number: min(end, at.get(number, end)) for number, end in extent.end.items()}

    def records(self, kind: TopicKind, extent: Extent) -> Iterator[LogRecord]:
        """Yield every record inside the extent that is still there, in offset order within a partition.

        Raises:
            ClusterError: The cluster stops giving records before the end.
        """
        topic = topic_name(kind, self._kafka)
        ends = {TopicPartition(topic, number): end for number, end in extent.end.items() if end > extent.first[number]}
        self._consumer.assign(list(ends))
        for partition in ends:
            self._consumer.seek(partition, extent.first[partition.partition])
        silent = 0
        while any(self._consumer.position(partition) < end for partition, end in ends.items()):
            batches = poll(self._consumer, timeout_ms=_POLL_MS, on_gone=self._note_gone)
            silent = 0 if batches else silent + 1
            if silent > _SILENT_POLLS:
                message = f"{self._kafka.bootstrap} gave no record of {topic} for {_POLL_MS * silent / 1000:.0f} s"
                raise ClusterError(message)
            for partition, records in batches.items():
                for record in records:
                    if record.offset < ends[partition]:
                        place, content = (record.partition, record.offset), (record.value, dict(record.headers))
                        yield LogRecord(*place, *content, record.timestamp, record.key)

    def _note_gone(self, gone: GoneRange) -> None:
        tell_gone(gone)
        self.gone.append(gone)

    def close(self) -> None:
        """Close the connection."""
        self._consumer.close()


def committed_offsets(kafka: KafkaSettings, group: str, kind: TopicKind) -> dict[int, int]:
    """Return the next offset, by partition, that a consumer group has committed; empty for an unknown group.

    Args:
        kafka: Cluster and topic prefix.
        group: Name of the group without the prefix.
        kind: The topic it reads.
    """
    topic = topic_name(kind, kafka)
    # It never subscribes, so it does not join the group and disturbs nobody.
    with closing(KafkaConsumer(**kafka.reader_options() | {"group_id": f"{kafka.topic_prefix}{group}"})) as consumer:
        numbers = consumer.partitions_for_topic(topic) or set()
        offsets = {number: consumer.committed(TopicPartition(topic, number)) for number in sorted(numbers)}
    return {number: offset for number, offset in offsets.items() if offset is not None}
