"""What is written to Kafka."""

from dataclasses import dataclass, field

from stream.topics import TopicKind


@dataclass(frozen=True, slots=True)
class Record:
    """What a Kafka record carries."""

    key: bytes | None
    value: bytes | None
    headers: dict[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Delivery:
    """A record and where it goes.

    Attributes:
        topic: Which of the topics.
        partition: Its partition; None lets the key decide.
        record: Key, value and headers.
        create_time_ms: Its CreateTime, epoch milliseconds; None for the time of sending.
    """

    topic: TopicKind
    partition: int | None
    record: Record
    create_time_ms: int | None = None
