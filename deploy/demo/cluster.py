"""The cluster of a demo, and how far its processes are behind."""

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from deploy.local_kafka.broker import LocalKafka, free_port
from stream.cluster.log import TopicLog, committed_offsets
from stream.settings import KafkaSettings
from stream.topics import TopicKind

READERS: dict[str, TopicKind] = {
    "stream": "events",
    "scorer": "labeled-impressions",
    "trainer": "weighted-examples",
}
"""The topic each consumer group reads."""

DRAIN_SECONDS = 30.0
"""A drain in which nothing moves for so long has failed; a quiet window and a plan cut by time take half of it."""

_LOOK_SECONDS = 0.5


@contextmanager
def demo_cluster(home: Path) -> Iterator[str]:
    """Give the address of the cluster that the settings name, or of a local Kafka that ends with the demo."""
    settings = KafkaSettings()
    if "bootstrap" in settings.model_fields_set:
        yield settings.bootstrap
        return
    with LocalKafka(home, free_port()) as kafka:
        yield kafka.bootstrap


def backlog(kafka: KafkaSettings, groups: list[str]) -> dict[str, int]:
    """Return how many records each consumer group has not yet committed."""
    behind = {}
    with closing(TopicLog(kafka)) as log:
        for group in groups:
            kind = READERS[group]
            extent = log.extent(kind)
            committed = committed_offsets(kafka, group, kind)
            behind[group] = sum(end - committed.get(number, extent.first[number]) for number, end in extent.end.items())
    return behind


def wait_until_drained(kafka: KafkaSettings, groups: list[str], seconds: float = DRAIN_SECONDS) -> dict[str, int]:
    """Wait until every group has committed all there is, or none has moved for so long; return what is left."""
    behind = backlog(kafka, groups)
    deadline = time.monotonic() + seconds
    while any(behind.values()) and time.monotonic() < deadline:
        time.sleep(_LOOK_SECONDS)
        before, behind = behind, backlog(kafka, groups)
        if behind != before:
            deadline = time.monotonic() + seconds
    return behind
