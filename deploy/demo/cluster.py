"""The cluster of a demo, and how far its processes are behind."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deploy.local_kafka import LocalKafka, free_port
from deploy.topic_log import TopicLog, committed_offsets
from stream.settings import KafkaSettings
from stream.topics import TopicKind

READERS: dict[str, TopicKind] = {
    "stream": "events",
    "scorer": "labeled-impressions",
    "trainer": "weighted-examples",
}
"""The topic each consumer group reads."""

DRAIN_SECONDS = 60.0
_LOOK_SECONDS = 0.5


@contextmanager
def demo_cluster(home: Path) -> Iterator[str]:
    """Give the address of the cluster that the environment names, or of a local Kafka that ends with the demo."""
    if bootstrap := os.environ.get("MILLSTREAM_KAFKA_BOOTSTRAP"):
        yield bootstrap
        return
    with LocalKafka(home, free_port()) as kafka:
        yield kafka.bootstrap


def backlog(kafka: KafkaSettings, groups: list[str]) -> dict[str, int]:
    """Return how many records each consumer group has not yet committed."""
    behind = {}
    with TopicLog(kafka) as log:
        for group in groups:
            kind = READERS[group]
            extent = log.extent(kind)
            committed = committed_offsets(kafka, group, kind)
            behind[group] = sum(end - committed.get(number, extent.first[number]) for number, end in extent.end.items())
    return behind


def wait_until_drained(kafka: KafkaSettings, groups: list[str]) -> dict[str, int]:
    """Wait until every group has committed all there is, at most `DRAIN_SECONDS`; return what is left."""
    deadline = time.monotonic() + DRAIN_SECONDS
    behind = backlog(kafka, groups)
    while any(behind.values()) and time.monotonic() < deadline:
        time.sleep(_LOOK_SECONDS)
        behind = backlog(kafka, groups)
    return behind
