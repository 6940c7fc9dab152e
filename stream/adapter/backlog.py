"""Whether an adapter has foreign records to forward: then a silent `events` does not mean that nothing happened."""

import logging
import time
from contextlib import closing

import structlog
from kafka import KafkaAdminClient, KafkaConsumer
from kafka.errors import (
    GroupAuthorizationFailedError,
    GroupIdNotFoundError,
    KafkaError,
    TopicAuthorizationFailedError,
)

from stream.settings import KafkaSettings
from stream.vital_thread import vital_thread

_LOOK_EVERY_SECONDS = 1.0
_LOOK_WITHIN_SECONDS = 2.0
_LOOK_HOLDS_SECONDS = 10.0
"""An older look says nothing any more."""
_POLL_MS = 200


class AdapterBacklog:
    """Looks once a second, from a thread of its own, at what the adapter's group has committed and what lies beyond.

    While the adapter is down or catches up, the clicks of open windows may be among what it has not forwarded.

    Args:
        kafka: The cluster.
        max_age_seconds: How old a foreign record may be before its not being forwarded counts; above the adapter's
            own delay.
    """

    def __init__(self, kafka: KafkaSettings, max_age_seconds: float) -> None:
        self._kafka = kafka
        self._group = f"{kafka.topic_prefix}adapter"
        self._max_age_ms = max_age_seconds * 1000
        self._behind: bool | None = None
        self._looked_seconds = time.monotonic()
        self._said = ""

    def start(self) -> None:
        """Look from now on."""
        vital_thread(self._watch, "adapter-backlog").start()

    def is_open(self) -> bool:
        """Return whether foreign records wait, as far as is known; no adapter has none."""
        return self._behind is not False or time.monotonic() - self._looked_seconds > _LOOK_HOLDS_SECONDS

    def _watch(self) -> None:
        while True:
            self._watch_until_it_fails()
            time.sleep(_LOOK_EVERY_SECONDS)

    def _watch_until_it_fails(self) -> None:
        try:
            with closing(_admin(self._kafka)) as admin, closing(_consumer(self._kafka)) as consumer:
                group = _Group(self._group, admin, consumer)
                while True:
                    self._note(behind=group.is_behind(int(time.time() * 1000 - self._max_age_ms)))
                    time.sleep(_LOOK_EVERY_SECONDS)
        except (GroupAuthorizationFailedError, TopicAuthorizationFailedError) as error:
            self._note(behind=False)
            self._say(logging.WARNING, "adapter_backlog_hidden", str(error))
        except (KafkaError, OSError) as error:
            self._say(logging.WARNING, "adapter_backlog_unknown", str(error))

    def _note(self, *, behind: bool) -> None:
        self._looked_seconds = time.monotonic()
        was_behind, self._behind = self._behind, behind
        if behind:
            what = "silence closes no window until it has forwarded what waits; start it, or delete its consumer group"
            self._say(logging.WARNING, "adapter_behind", what)
        elif was_behind:
            self._say(logging.INFO, "adapter_caught_up", "silence closes windows again")

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

    def is_behind(self, older_than_ms: int) -> bool:
        """Return whether a record created before some moment is unsettled."""
        try:
            committed = self._admin.list_group_offsets(self._group).get(self._group, {})
        except GroupIdNotFoundError:  # no adapter has ever run
            return False
        places = {
            partition: place.offset
            for partition, place in committed.items()
            if place.offset >= 0 and partition.partition in (self._consumer.partitions_for_topic(partition.topic) or ())
        }
        if not places:
            return False
        ends = self._consumer.end_offsets(list(places))
        unknown = {partition for partition, end in ends.items() if places[partition] < end}
        if not unknown:
            return False
        self._consumer.assign(list(unknown))
        for partition in unknown:
            self._consumer.seek(partition, places[partition])
        deadline = time.monotonic() + _LOOK_WITHIN_SECONDS
        while unknown and time.monotonic() < deadline:
            for partition, records in self._consumer.poll(timeout_ms=_POLL_MS).items():
                if records and partition in unknown:
                    if records[0].timestamp < older_than_ms:
                        return True
                    unknown.remove(partition)
            # Neither markers of transactions nor what was aborted are records: the client passes them.
            unknown = {partition for partition in unknown if self._consumer.position(partition) < ends[partition]}
        return bool(unknown)


def _admin(kafka: KafkaSettings) -> KafkaAdminClient:
    return KafkaAdminClient(**kafka.client_options())


def _consumer(kafka: KafkaSettings) -> KafkaConsumer:
    # Of each partition the first record is enough, and where retention has passed it, the first that is left: the
    # adapter itself says what is gone.
    return KafkaConsumer(
        **kafka.reader_options() | {"auto_offset_reset": "earliest", "max_partition_fetch_bytes": 16 * 1024}
    )
