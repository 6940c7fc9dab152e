"""The Faust app every stream process starts from, with the settings measured to lose nothing."""

import ssl
import sys
from typing import Any, NoReturn

import faust
import faust.streams
import mode.loop
from faust.types import TransportT
from faust.types.auth import CredentialsT
from mode.supervisors import CrashingSupervisor

from stream.disk.durable_files import storing
from stream.process.logs import logging_config
from stream.settings import KafkaSettings
from stream.worker.ordered_consumer import OrderedTransport
from stream.worker.slot import slot_directory

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
