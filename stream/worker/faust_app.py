"""The Faust app every stream process starts from, with the settings measured to lose nothing."""

import asyncio
import ssl
import sys
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import faust
import faust.streams
import mode.loop
import structlog
from aiokafka.errors import KafkaError
from faust.exceptions import FaustError
from faust.types import TP, Message, RecordMetadata, TransportT
from faust.types.auth import CredentialsT
from mode.supervisors import CrashingSupervisor

from stream.cluster.gone_records import GoneRecords
from stream.cluster.topic_identity import TopicIdentities
from stream.dead_letters import Record
from stream.disk.durable_files import storing
from stream.process.logs import logging_config
from stream.settings import KafkaSettings
from stream.topics import topic_name
from stream.worker.metrics import GroupMetrics
from stream.worker.ordered_consumer import OrderedConsumer, OrderedTransport
from stream.worker.slot import SlotDispute, slot_directory

_RETRY_SECONDS = 0.5

_LOSES_NOTHING: dict[str, Any] = {
    "agent_supervisor": CrashingSupervisor,
    "key_serializer": "raw",
    "value_serializer": "raw",
    "consumer_auto_offset_reset": "earliest",
    # Partitions that a foreign topic gets are found within this, not within the client's five minutes.
    "consumer_metadata_max_age_ms": 30_000,
    "broker_session_timeout": 10.0,
    "broker_request_timeout": 40.0,
    "broker_heartbeat_interval": 2.0,
    "broker_commit_interval": 0.5,
    # An inline commit every 10,000 acknowledgements would stall reading; the interval above is enough.
    "broker_commit_every": 1_000_000,
    # Commits trail by a whole window: Faust's own warnings would call that a livelock. The watchdog judges.
    "broker_commit_livelock_soft_timeout": 86_400.0,
    "stream_processing_timeout": 86_400.0,
    "producer_acks": -1,
    "producer_linger": 0.005,
    "producer_max_request_size": 2 * 1024 * 1024,
    # Faust's 20 minutes would hold a chunk through an outage; after this it fails and is sent again.
    "producer_request_timeout": 40.0,
    # True waits, in a rebalance and at exit, until every held record is acknowledged: a whole window.
    "stream_wait_empty": False,
    "stream_recovery_delay": 0.0,
    "table_standby_replicas": 0,
    "topic_allow_declare": False,
    "topic_disable_leader": True,
    "web_enabled": False,
    "worker_redirect_stdouts": False,
}
"""Settings of every app, measured to lose no record."""


class _OrderedApp(faust.App):
    def _new_transport(self) -> TransportT:
        return OrderedTransport(self.conf.broker_consumer, self)


def create_app(name: str, kafka: KafkaSettings, *, instance: str) -> faust.App:
    """Return an app that consumes as the group `<prefix><name>` and delivers at least once.

    Args:
        name: Name of the process; with the topic prefix the consumer group.
        kafka: Cluster and credentials.
        instance: Name of the worker slot, unique in the group and kept across restarts: a worker that comes back
            under its old name takes its partitions over in seconds instead of after the session time-out.

    Raises:
        RuntimeError: if Faust's compiled stream iterator is missing: the Python one acknowledges records that it
            skips in a rebalance.
    """
    if getattr(faust.streams, "_CStreamIterator", None) is None:
        message = "Faust's compiled extensions are missing: install its binary wheel and unset NO_CYTHON"
        raise RuntimeError(message)
    group = f"{kafka.topic_prefix}{name}"
    # Faust insists on a directory, though without tables nothing is kept in it.
    directory = slot_directory(group, instance)
    with storing(directory):
        directory.mkdir(parents=True, exist_ok=True)
    return _OrderedApp(
        group,
        broker=[f"kafka://{server}" for server in kafka.bootstrap.split(",")],
        broker_credentials=_credentials(kafka),
        datadir=directory,
        consumer_group_instance_id=f"{group}-{instance}",
        **_LOSES_NOTHING,
    )


def run_app(app: faust.App, process: str) -> NoReturn:
    """Run the app as this process's worker until SIGTERM or SIGINT, then exit: 0, or 1 if it crashed."""
    mode.loop.use("uvloop")
    app.finalize()
    worker = faust.Worker(
        app, loglevel="INFO", logging_config=logging_config(process), quiet=True, stdout=sys.stderr, stderr=sys.stderr
    )
    # Set again: the worker's command line would do it, and Faust's web server binds every interface otherwise.
    app.conf.web_enabled = False
    worker.execute_from_commandline()


def _credentials(kafka: KafkaSettings) -> CredentialsT | None:
    context = _ssl_context(kafka) if kafka.security_protocol.endswith("SSL") else None
    if kafka.security_protocol.startswith("SASL_"):
        return faust.SASLCredentials(
            username=kafka.sasl_username,
            password=kafka.sasl_password.get_secret_value(),
            mechanism=kafka.sasl_mechanism,
            ssl_context=context,
        )
    return faust.SSLCredentials(context) if context else None


def _ssl_context(kafka: KafkaSettings) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(kafka.ssl_cafile) if kafka.ssl_cafile else None)
    if kafka.ssl_certfile:
        context.load_cert_chain(kafka.ssl_certfile, kafka.ssl_keyfile)
    return context


class DeliveryError(RuntimeError):
    """A record was not confirmed by Kafka; send the whole chunk again."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """A record and where it goes.

    Attributes:
        topic: Full name of the topic.
        partition: Its partition; None lets the key decide.
        record: Key, value and headers.
        create_time_ms: Its CreateTime, epoch milliseconds; None for the time of sending.
    """

    topic: str
    partition: int | None
    record: Record
    create_time_ms: int | None = None


async def deliver(app: faust.App, deliveries: Iterable[Delivery]) -> None:
    """Send the records in their order, and return when Kafka has confirmed every one.

    Raises:
        DeliveryError: if one was not confirmed. None is in flight then; those that were confirmed will be repeated.
    """
    pending: list[Awaitable[RecordMetadata]] = []
    failure: BaseException | None = None
    for delivery in deliveries:
        key, value, headers = delivery.record.key, delivery.record.value, delivery.record.headers
        # Faust wants seconds and cuts them to milliseconds: half a one keeps it from cutting one off.
        created = None if delivery.create_time_ms is None else (delivery.create_time_ms + 0.5) / 1000
        try:
            # Sending can fail at once too: the producer is not ready while the app shuts down.
            pending.append(await app.producer.send(delivery.topic, key, value, delivery.partition, created, headers))
        except (FaustError, KafkaError) as error:
            failure = error
            break
    results = await asyncio.gather(*pending, return_exceptions=True)
    failure = next((result for result in results if isinstance(result, BaseException)), failure)
    if failure is not None:
        message = f"a record was not confirmed: {type(failure).__name__}: {failure}"
        raise DeliveryError(message) from failure


def follow_topics(app: faust.App, kafka: KafkaSettings, topics: Collection[str], metrics: GroupMetrics) -> None:
    """Let the app read a topic from its beginning when it was deleted and made anew.

    Args:
        app: The Faust app, made by `create_app`.
        kafka: The cluster.
        topics: Full names of what it reads.
        metrics: What to count in.
    """
    identities = TopicIdentities(kafka, topics)

    async def begin_again(remade: Collection[str]) -> None:
        metrics.topics_remade.inc(len(remade))
        consumer: OrderedConsumer = app.consumer  # type: ignore[assignment]
        await consumer.begin_again(remade)

    async def follow() -> None:
        await identities.follow(begin_again)

    app.task(follow)


def watch_gone(app: faust.App, kafka: KafkaSettings, stage: str, metrics: GroupMetrics) -> GoneRecords:
    """Return the watch over what retention takes from this worker; show it all that is read, before it is used."""
    watch = GoneRecords(stage, metrics.gone_records.inc, _Group(app, kafka))

    async def forget(_app: Any, _revoked: set[TP], **_: Any) -> None:
        watch.forget()

    app.on_partitions_revoked.connect(forget)  # type: ignore[arg-type]  # its types forbid named arguments
    return watch


class _Group:
    """What the watch asks and tells; a broker that is away is asked again."""

    def __init__(self, app: faust.App, kafka: KafkaSettings) -> None:
        self._app = app
        self._kafka = kafka

    def committed(self, topic: str, partition: int) -> int | None:
        # Nothing is committed before the first record of an assignment is handled: it is where the group stood.
        offsets: Mapping[TP, int | None] = self._app.consumer._committed_offset  # type: ignore[attr-defined]  # noqa: SLF001
        return offsets.get(TP(topic, partition))

    async def beginning(self, topic: str, partition: int) -> int:
        while True:
            try:
                return (await self._app.consumer.earliest_offsets(TP(topic, partition)))[TP(topic, partition)]
            except KafkaError as error:
                structlog.get_logger(__name__).warning("offsets_unknown", message=str(error))
                await asyncio.sleep(_RETRY_SECONDS)

    async def write(self, partition: int, letter: Record) -> None:
        delivery = Delivery(topic_name("dead-letters", self._kafka), partition % self._kafka.partitions, letter)
        while True:
            try:
                await deliver(self._app, [delivery])
            except DeliveryError as error:
                structlog.get_logger(__name__).warning("send_failed", message=str(error))
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                return


class Membership:
    """A worker's place in its consumer group: which records are its own, and what a rebalance takes away.

    A rebalance begins a new generation and takes every partition: whoever owns one next reads again whatever of it was
    not acknowledged.

    Args:
        app: The Faust app.
        metrics: What to count in.
        drop: Forgets all that was read and not acknowledged.

    Attributes:
        rebalancing: Whether the partitions are taken and not yet given again.
        num_assignments: How often they were given.
    """

    def __init__(self, app: faust.App, metrics: GroupMetrics, drop: Callable[[], None]) -> None:
        self.rebalancing = False
        self.num_assignments = 0
        self._app = app
        self._metrics = metrics
        self._drop = drop
        self._revoked_generation: int | None = None
        group, slot = str(app.conf.id), str(app.conf.consumer_group_instance_id)
        self._dispute = SlotDispute(group, slot.removeprefix(f"{group}-"))
        app.on_partitions_revoked.connect(self._on_revoked)  # type: ignore[arg-type]  # its types forbid named arguments
        app.on_partitions_assigned.connect(self._on_assigned)  # type: ignore[arg-type]

    def owns(self, message: Message) -> bool:
        """Return whether the record is of this generation: what `noack_take` has buffered survives a rebalance."""
        generation = self._app.consumer_generation_id
        return bool(message.generation_id == generation != self._revoked_generation)

    async def _on_revoked(self, _app: Any, revoked: set[TP], **_: Any) -> None:
        self.rebalancing = True
        # The app bears this generation until it is given the next: what comes meanwhile will be read again.
        self._revoked_generation = self._app.consumer_generation_id
        self._metrics.rebalances.inc()
        self._drop()
        structlog.get_logger(__name__).info("partitions_revoked", partitions=_numbers(revoked))

    async def _on_assigned(self, _app: Any, assigned: set[TP], **_: Any) -> None:
        self.rebalancing = False
        self.num_assignments += 1
        self._metrics.partitions.set(len(assigned))
        structlog.get_logger(__name__).info("partitions_assigned", partitions=_numbers(assigned))
        if dispute := self._dispute.note_rebalance():
            structlog.get_logger(__name__).error("instance_name_taken", message=dispute)


def _numbers(partitions: set[TP]) -> list[int]:
    return sorted(partition.partition for partition in partitions)
