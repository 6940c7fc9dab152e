"""How far an adapter has forwarded foreign records: what lies beyond may hold clicks, however silent `events` is."""

import logging
import time
from contextlib import closing
from dataclasses import dataclass

import structlog
from kafka import KafkaAdminClient, KafkaConsumer
from kafka.errors import (
    GroupAuthorizationFailedError,
    GroupIdNotFoundError,
    KafkaError,
    TopicAuthorizationFailedError,
)

from stream.process.vital_thread import vital_thread
from stream.settings import KafkaSettings

_LOOK_EVERY_SECONDS = 1.0
_LOOK_WITHIN_SECONDS = 2.0
_MAX_AGE_MS = 5_000
"""Of a foreign record that may wait: above the adapter's own delay, most of which is between its commits."""
_POLL_MS = 200


@dataclass(frozen=True, slots=True)
class Forwarded:
    """A look that found no record waiting too long.

    Attributes:
        until_ms: What was created before is in `events`, epoch milliseconds.
        looked_ms: When this was known, by the same clock.
    """

    until_ms: int
    looked_ms: int


class AdapterBacklog:
    """Looks once a second, from a thread of its own, at what the adapter's group has committed and what lies beyond.

    While the adapter is down or catches up, the clicks of open windows may be among what it has not forwarded.

    Args:
        kafka: The cluster.
    """

    def __init__(self, kafka: KafkaSettings) -> None:
        self._kafka = kafka
        self._group = f"{kafka.topic_prefix}adapter"
        self._forwarded: Forwarded | None = None
        self._proven_ms = 0
        self._said = ""

    def start(self) -> None:
        """Look from now on."""
        vital_thread(self._watch, "adapter-backlog").start()

    def forwarded(self) -> Forwarded | None:
        """Return the newest look; None while the adapter is behind, and before the first. No adapter has nothing to do.

        Where the cluster does not answer the look grows old: what it proves does not.
        """
        return self._forwarded

    def _watch(self) -> None:
        while True:
            self._watch_until_it_fails()
            time.sleep(_LOOK_EVERY_SECONDS)

    def _watch_until_it_fails(self) -> None:
        try:
            with closing(_admin(self._kafka)) as admin, closing(_consumer(self._kafka)) as consumer:
                group = _Group(self._group, admin, consumer)
                while True:
                    self._note(group.forwarded_until(_now_ms()))
                    time.sleep(_LOOK_EVERY_SECONDS)
        except (GroupAuthorizationFailedError, TopicAuthorizationFailedError) as error:
            self._note(_now_ms())
            self._say(logging.WARNING, "adapter_backlog_hidden", str(error))
        except (KafkaError, OSError) as error:
            self._say(logging.WARNING, "adapter_backlog_unknown", str(error))

    def _note(self, until_ms: int | None) -> None:
        if until_ms is None:
            self._forwarded = None
            what = "silence closes no window until it has forwarded what waits; start it, or delete its consumer group"
            self._say(logging.WARNING, "adapter_behind", what)
            return
        self._proven_ms = max(self._proven_ms, until_ms)
        if self._said == "adapter_behind":
            self._say(logging.INFO, "adapter_caught_up", "silence closes windows again")
        self._forwarded = Forwarded(self._proven_ms, _now_ms())

    def _say(self, level: int, event: str, message: str) -> None:
        """Log what is new since the last line."""
        if event != self._said:
            self._said = event
            structlog.get_logger(__name__).log(level, event, group=self._group, message=message)


class _Group:
    """A consumer group's unsettled records, looked at without joining it."""

    def __init__(self, group: str, admin: KafkaAdminClient, consumer: KafkaConsumer) -> None:
        self._group = group
        self._admin = admin
        self._consumer = consumer

    def forwarded_until(self, now_ms: int) -> int | None:
        """Return until when all that was created is settled, as far as this look tells; None if one waits too long."""
        try:
            committed = self._admin.list_group_offsets(self._group).get(self._group, {})
        except GroupIdNotFoundError:  # no adapter has ever run
            return now_ms
        places = {
            partition: place.offset
            for partition, place in committed.items()
            if place.offset >= 0 and partition.partition in (self._consumer.partitions_for_topic(partition.topic) or ())
        }
        ends = self._consumer.end_offsets(list(places)) if places else {}
        unknown = {partition for partition, end in ends.items() if places[partition] < end}
        if not unknown:
            return now_ms
        self._consumer.assign(list(unknown))
        for partition in unknown:
            self._consumer.seek(partition, places[partition])
        deadline = time.monotonic() + _LOOK_WITHIN_SECONDS
        while unknown and time.monotonic() < deadline:
            for partition, records in self._consumer.poll(timeout_ms=_POLL_MS).items():
                if records and partition in unknown:
                    if records[0].timestamp < now_ms - _MAX_AGE_MS:
                        return None
                    unknown.remove(partition)
            # Neither markers of transactions nor what was aborted are records: the client passes them.
            unknown = {partition for partition in unknown if self._consumer.position(partition) < ends[partition]}
        return None if unknown else now_ms - _MAX_AGE_MS


def _admin(kafka: KafkaSettings) -> KafkaAdminClient:
    return KafkaAdminClient(**kafka.client_options())


def _consumer(kafka: KafkaSettings) -> KafkaConsumer:
    # Of each partition the first record is enough, and where retention has passed it, the first that is left: the
    # adapter itself says what is gone.
    return KafkaConsumer(
        **kafka.reader_options() | {"auto_offset_reset": "earliest", "max_partition_fetch_bytes": 16 * 1024}
    )


def _now_ms() -> int:
    return int(time.time() * 1000)
