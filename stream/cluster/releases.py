"""Model releases: announcing them, and following them from the beginning.

Every process reads the whole topic by itself and in no consumer group: in a group only one worker would hear the news.
"""

import time
from collections.abc import Callable, Iterable
from typing import Any

import structlog
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from stream.cluster.reader import poll
from stream.events import Alias, EventError, ModelRelease, decode_release, encode
from stream.settings import KafkaSettings
from stream.topics import topic_name

DELIVERY_SECONDS = 30.0
"""A release that no broker took in so long is an error: the trainer announces again when it restarts."""


class ReleasesUnavailableError(RuntimeError):
    """The topic of releases cannot be read; the message says what to do."""


class ReleaseFollower:
    """Reads every release, oldest first, and goes on with new ones as they are announced.

    Not thread-safe: one thread polls. A record that is no release is logged and passed.
    `polled_seconds` tells when it last polled, epoch seconds: who follows no longer stands still.

    Args:
        kafka: Cluster and topic prefix.
        on_unusable: Called for every record that is no release.

    Raises:
        ReleasesUnavailableError: the topic does not exist.
    """

    def __init__(self, kafka: KafkaSettings, on_unusable: Callable[[], None] = lambda: None) -> None:
        self._on_unusable = on_unusable
        topic = topic_name("model-releases", kafka)
        self._partition = TopicPartition(topic, 0)
        self._consumer = KafkaConsumer(**kafka.reader_options())
        self.polled_seconds = 0.0
        if topic not in self._consumer.topics():
            self._consumer.close()
            message = f"topic {topic} does not exist at {kafka.bootstrap}; run 'millstream topics apply'"
            raise ReleasesUnavailableError(message)
        self._consumer.assign([self._partition])
        self._consumer.seek_to_beginning(self._partition)

    def poll(self, timeout_ms: int = 0) -> list[ModelRelease]:
        """Return the releases that came since the last call, in order; wait up to the time-out for the first."""
        records = poll(self._consumer, timeout_ms=timeout_ms).get(self._partition, [])
        self.polled_seconds = time.time()
        return [release for record in records if (release := self._decode(record)) is not None]

    def catch_up(self) -> dict[Alias, ModelRelease]:
        """Read to the present end of the topic and return where each alias points that moved since the last call."""
        end = self._consumer.end_offsets([self._partition])[self._partition]
        latest: dict[Alias, ModelRelease] = {}
        while self._consumer.position(self._partition) < end:
            latest |= {release.alias: release for release in self.poll(timeout_ms=100)}
        return latest

    def close(self) -> None:
        """Close the connection."""
        self._consumer.close()

    def _decode(self, record: Any) -> ModelRelease | None:
        try:
            return decode_release(record.value)
        except EventError as error:
            self._on_unusable()
            structlog.get_logger(__name__).warning(
                "release_unusable", topic=record.topic, offset=record.offset, reason=error.reason, message=str(error)
            )
            return None


def announce(kafka: KafkaSettings, releases: Iterable[ModelRelease]) -> None:
    """Write the releases in their order and wait until the cluster has all of them.

    Announcing again is harmless: the topic keeps the last release of each alias.

    Raises:
        kafka.errors.KafkaError: the cluster did not take one of them within `DELIVERY_SECONDS`.
    """
    producer = KafkaProducer(
        **kafka.client_options(),
        acks="all",
        request_timeout_ms=int(DELIVERY_SECONDS * 1000 / 3),
        delivery_timeout_ms=int(DELIVERY_SECONDS * 1000),
        linger_ms=5,
    )
    try:
        topic = topic_name("model-releases", kafka)
        futures = [
            producer.send(topic, key=release.alias.encode(), value=encode(release), partition=0) for release in releases
        ]
        deadline = time.monotonic() + DELIVERY_SECONDS
        for future in futures:
            future.get(timeout=max(0.0, deadline - time.monotonic()))
    finally:
        producer.close(timeout=DELIVERY_SECONDS)
