"""Settings of everything that touches Kafka."""

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator

from stream.configuration.millstream_settings import MillstreamSettings
from stream.configuration.ports import KAFKA_PORT


class KafkaSettings(MillstreamSettings, group="kafka"):
    """The cluster, how to reach it, and what our topics look like there."""

    bootstrap: str = Field(f"127.0.0.1:{KAFKA_PORT}", description="host:port of one or more brokers, comma separated")
    topic_prefix: str = Field(
        "millstream.",
        pattern=r"^[a-zA-Z0-9._-]{0,200}$",
        description="put before every topic and consumer group name",
    )
    partitions: int = Field(4, ge=1, description="partitions of events, labeled-impressions and weighted-examples")
    replication_factor: int = Field(1, ge=1, description="replicas of every topic; 3 in production")
    retention_hours: float = Field(48.0, gt=0, description="how long events and examples are kept, in hours")
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="how to talk to the brokers"
    )
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        "SCRAM-SHA-512", description="SASL mechanism, used by the SASL_ protocols"
    )
    sasl_username: str = Field("", description="SASL user")
    sasl_password: SecretStr = Field(SecretStr(""), description="SASL password; never logged")
    ssl_cafile: Path | None = Field(None, description="CA certificates; the system's when unset")
    ssl_certfile: Path | None = Field(None, description="client certificate for mutual TLS")
    ssl_keyfile: Path | None = Field(None, description="key of the client certificate")

    @field_validator("bootstrap")
    @classmethod
    def _check_bootstrap(cls, value: str) -> str:
        servers = [server.strip() for server in value.split(",") if server.strip()]
        for server in servers:
            host, _, port = server.rpartition(":")
            if not host or "/" in host or not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
                message = f"{server!r} is no host:port of a broker; write for example broker-1:9092,broker-2:9092"
                raise ValueError(message)
        if not servers:
            message = "it names no broker; write for example broker-1:9092"
            raise ValueError(message)
        return ",".join(servers)

    @model_validator(mode="after")
    def _check_credentials(self) -> Self:
        authenticates = self.security_protocol.startswith("SASL_")
        if authenticates and not (self.sasl_username and self.sasl_password.get_secret_value()):
            message = (
                f"security_protocol={self.security_protocol} needs MILLSTREAM_KAFKA_SASL_USERNAME and "
                "MILLSTREAM_KAFKA_SASL_PASSWORD"
            )
            raise ValueError(message)
        if self.sasl_username and not authenticates:
            message = (
                f"sasl_username={self.sasl_username} is set, but security_protocol={self.security_protocol} sends no "
                "credentials; set MILLSTREAM_KAFKA_SECURITY_PROTOCOL=SASL_SSL, or unset MILLSTREAM_KAFKA_SASL_USERNAME"
            )
            raise ValueError(message)
        return self

    def client_options(self) -> dict[str, Any]:
        """Return the connection options of every kafka-python client."""
        options: dict[str, Any] = {
            "bootstrap_servers": self.bootstrap.split(","),
            "security_protocol": self.security_protocol,
        }
        if self.security_protocol.startswith("SASL_"):
            options |= {
                "sasl_mechanism": self.sasl_mechanism,
                "sasl_plain_username": self.sasl_username,
                "sasl_plain_password": self.sasl_password.get_secret_value(),
            }
        if self.security_protocol.endswith("SSL"):
            files = {
                "ssl_cafile": self.ssl_cafile,
                "ssl_certfile": self.ssl_certfile,
                "ssl_keyfile": self.ssl_keyfile,
            }
            options |= {name: str(path) for name, path in files.items() if path is not None}
        return options

    def reader_options(self) -> dict[str, Any]:
        """Return the options of every kafka-python consumer: in no group, committing nothing, never moving by itself.

        Without a reset policy a read that retention overtakes raises; with one it would go on elsewhere in silence.
        """
        return self.client_options() | {
            "group_id": None,
            "enable_auto_commit": False,
            "auto_offset_reset": "none",
            "allow_auto_create_topics": False,
            "isolation_level": "read_committed",
            # Brief waits keep the news fresh, and the closing of a reader quick.
            "fetch_max_wait_ms": 100,
            "reconnect_backoff_max_ms": 1_000,
        }


class JoinSettings(MillstreamSettings, group="join"):
    """The label join."""

    window_seconds: float = Field(
        1800.0, gt=0, description="attribution window: how long an impression waits for clicks"
    )
    orphan_wait_seconds: float = Field(
        10.0, ge=0, description="how long a click waits for an impression that comes after it"
    )
    lateness_seconds: float = Field(
        1.0,
        ge=0,
        description="how far out of event-time order records of a partition may come: windows close so much later",
    )
    max_ahead_seconds: float = Field(
        60.0, ge=0, description="how far an event time may lie ahead of its record; beyond it is a dead letter"
    )
    quiet_seconds: float = Field(
        15.0,
        gt=0,
        description="silence after which wall time may close windows; above the producers' worst reconnect",
    )
    late_memory_seconds: float = Field(
        600.0,
        ge=0,
        description="how long a closed impression is remembered, to tell a late click from an orphaned one",
    )
    max_pending: int = Field(
        500_000,
        ge=1,
        description="impressions held per worker; above it the oldest windows close early, flagged window_cut; as many "
        "clicks may wait in a partition, above it the oldest are orphaned",
    )
    early_negative: bool = Field(
        False,
        description="whether impressions leave at once as negatives and, when clicked, again as positives (revision 1)",
    )
    instance: str = Field(
        "0", min_length=1, description="name of this worker slot: unique in the group, the same after a restart"
    )
    stall_seconds: float = Field(
        120.0, gt=0, description="the process ends itself when records wait and none has moved for so long"
    )


class AdapterSettings(MillstreamSettings, group="adapter"):
    """The adapter of foreign topics."""

    mapping: Path = Field(Path("mapping.toml"), description="TOML file that maps foreign records to events")
    instance: str = Field(
        "0", min_length=1, description="name of this worker slot: unique in the group, the same after a restart"
    )
    stall_seconds: float = Field(
        120.0, gt=0, description="the process ends itself when records wait and none has moved for so long"
    )


class MetricsSettings(MillstreamSettings, group="metrics"):
    """Where a process shows its Prometheus metrics."""

    host: str = Field("127.0.0.1", description="address /metrics listens on")
    port: int | None = Field(
        None,
        ge=0,
        le=65535,
        description="port of /metrics; each process has its own default, 0 picks a free one",
    )
