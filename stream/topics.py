"""The one table of topics; `millstream topics apply` creates them, never an accident."""

from dataclasses import dataclass, field
from typing import Literal

from stream.settings import KafkaSettings

TopicKind = Literal[
    "events", "labeled-impressions", "weighted-examples", "model-releases", "trainer-commands", "dead-letters"
]


@dataclass(frozen=True, kw_only=True)
class Topic:
    """A topic as it should be on the cluster.

    Attributes:
        name: Full name, prefix included.
        partitions: Number of partitions.
        config: Topic configuration that we insist on, and create it with.
        needs: Configuration that is left to the broker's default when it is created, and must not be less than this.
    """

    name: str
    partitions: int
    config: dict[str, str]
    needs: dict[str, str] = field(default_factory=dict)


_LARGEST_RECORD_BYTES: dict[TopicKind, int] = {
    "events": 96 * 1024,
    "labeled-impressions": 192 * 1024,
    "weighted-examples": 640 * 1024,
}
"""An event has at most 64 KiB, a label holds one, a batch of examples is split at 512 KiB; with headers and framing."""


def topic_name(kind: TopicKind, kafka: KafkaSettings) -> str:
    """Return the full name of a topic."""
    return f"{kafka.topic_prefix}{kind}"


def topic_table(kafka: KafkaSettings) -> dict[TopicKind, Topic]:
    """Return every topic Millstream uses."""
    retention = {"cleanup.policy": "delete", "retention.ms": str(int(kafka.retention_hours * 3_600_000))}
    # A dead letter carries the original bytes plus headers, so it may be larger than the largest record anywhere else.
    large = {"max.message.bytes": str(2 * 1024 * 1024)}
    compacted = {"cleanup.policy": "compact"}
    plan: dict[TopicKind, tuple[int, dict[str, str]]] = {
        "events": (kafka.partitions, retention),
        "labeled-impressions": (kafka.partitions, retention),
        "weighted-examples": (kafka.partitions, retention),
        "model-releases": (1, compacted),
        "trainer-commands": (1, retention),
        "dead-letters": (kafka.partitions, retention | large),
    }
    return {
        kind: Topic(
            name=topic_name(kind, kafka),
            partitions=partitions,
            config=config,
            needs={"max.message.bytes": str(_LARGEST_RECORD_BYTES[kind])} if kind in _LARGEST_RECORD_BYTES else {},
        )
        for kind, (partitions, config) in plan.items()
    }
