"""Creates the topics of the topic table on a cluster, and says where the cluster differs from it."""

from collections.abc import Generator, Iterable
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.errors import KafkaError, TopicAlreadyExistsError

from stream.cluster.failure import connection_failures, failure_line, silent_addresses
from stream.settings import JoinSettings, KafkaSettings
from stream.topics import Topic, topic_table

OUTAGE_ALLOWANCE_SECONDS = 3600.0
"""How long the join may be down before retention may delete events whose windows are still open."""

_ANSWER_WITHIN_SECONDS = 5

_UNLIMITED = -1
_AT_LEAST = {"retention.ms", "max.message.bytes"}
"""What a topic may have more of than the table says, or without limit. All else must be as in the table."""


@dataclass(frozen=True)
class Problem:
    """A difference between a topic and the topic table.

    Attributes:
        topic: Full name of the topic.
        what: Which field differs and how.
        remedy: What to do about it.
    """

    topic: str
    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.topic}: {self.what}; {self.remedy}"


class ClusterError(RuntimeError):
    """The cluster cannot be reached or refuses; the message says what to do."""


def connect_admin(kafka: KafkaSettings) -> KafkaAdminClient:
    """Return an administrator of the cluster; close it after use.

    Raises:
        ClusterError: Nothing answers at `kafka.bootstrap`, it refuses, or the brokers it names cannot be reached.
    """
    servers = [server.rpartition(":") for server in kafka.bootstrap.split(",")]
    addresses = [(host.strip("[]"), int(port)) for host, _, port in servers]
    silent = silent_addresses(addresses)
    if len(silent) == len(addresses):
        # The client itself would retry for long and leave sockets open.
        failure = silent[addresses[-1]]
        raise ClusterError(failure_line(kafka, failure)) from failure
    with connection_failures() as causes:
        try:
            admin = KafkaAdminClient(**kafka.client_options(), bootstrap_timeout_ms=1000 * _ANSWER_WITHIN_SECONDS)
        except (KafkaError, OSError) as error:
            raise ClusterError(failure_line(kafka, error, causes)) from error
    if problem := _advertised_problem(kafka, admin):
        admin.close()
        raise ClusterError(problem)
    return admin


@contextmanager
def administered(kafka: KafkaSettings, task: str) -> Generator[KafkaAdminClient]:
    """Hold an administrator of the cluster; `task` is what a refusal says that the cluster refused to do.

    Raises:
        ClusterError: The cluster cannot be reached or refuses.
    """
    with closing(connect_admin(kafka)) as admin:
        try:
            yield admin
        except KafkaError as error:
            message = f"the cluster at {kafka.bootstrap} refused to {task}: {error}"
            raise ClusterError(message) from error


def require_cluster(kafka: KafkaSettings) -> None:
    """Refuse at once, before anything slow is loaded, where no cluster answers.

    Raises:
        ClusterError: None does.
    """
    connect_admin(kafka).close()


def _advertised_problem(kafka: KafkaSettings, admin: KafkaAdminClient) -> str | None:
    """Return what is wrong when no broker can be reached where the cluster says it is."""
    # Every public call goes to such an address already, and fails with a bare errno.
    brokers = {(node.host, node.port): node.node_id for node in admin._manager.cluster.brokers()}  # noqa: SLF001
    silent = silent_addresses(list(brokers))
    if not silent or len(silent) < len(brokers):
        return None
    told = ", ".join(f"{host}:{port} ({failure.strerror or failure})" for (host, port), failure in silent.items())
    return (
        f"Kafka answers at {kafka.bootstrap}, but says that its brokers are at {told}, which cannot be reached "
        "from here; set advertised.listeners of the brokers to addresses that clients can reach"
    )


def apply_topics(kafka: KafkaSettings) -> list[str]:
    """Create the topics that are missing and return their names; existing ones are left as they are.

    Raises:
        ClusterError: The cluster cannot be reached or refuses.
    """
    with administered(kafka, "create topics") as admin:
        present = set(admin.list_topics())
        missing = [topic for topic in topic_table(kafka).values() if topic.name not in present]
        return [topic.name for topic in missing if _create(admin, topic, kafka.replication_factor)]


def check_topics(kafka: KafkaSettings, join: JoinSettings) -> list[Problem]:
    """Return every way in which the cluster's topics differ from the topic table; empty when all is well.

    Raises:
        ClusterError: The cluster cannot be reached or refuses.
    """
    with administered(kafka, "describe its topics") as admin:
        present = set(admin.list_topics())
        problems = []
        for kind, topic in topic_table(kafka).items():
            if topic.name not in present:
                problems.append(Problem(topic.name, "it does not exist", "run 'millstream topics apply'"))
                continue
            actual = _describe(admin, topic.name)
            problems += _differences(topic, actual)
            if kind == "events":
                problems += _retention_problems(topic.name, actual.config, join)
        return problems


def refuse(problems: Iterable[Problem]) -> None:
    """Refuse to start where topics are missing, or would lose what must be read again.

    Raises:
        ValueError: There are problems; the message names each with its remedy.
    """
    if message := "; ".join(map(str, problems)):
        raise ValueError(message)


def _create(admin: KafkaAdminClient, topic: Topic, replication_factor: int) -> bool:
    plan = {
        "num_partitions": topic.partitions,
        "replication_factor": replication_factor,
        "configs": topic.config,
    }
    try:
        admin.create_topics({topic.name: plan}, wait_for_metadata=True)
    except TopicAlreadyExistsError:  # another process applied the table at the same moment
        return False
    return True


def _describe(admin: KafkaAdminClient, name: str) -> Topic:
    """Return a topic as it is on the cluster, with all of its configuration."""
    partitions = len(admin.describe_topics([name])[0]["partitions"])
    resource = ConfigResource(ConfigResourceType.TOPIC, name, configs=None)
    entries: dict[str, Any] = admin.describe_configs([resource], config_filter="all")["topic"][name]
    config = {key: str(entry["value"]) for key, entry in entries.items()}
    return Topic(name=name, partitions=partitions, config=config)


def _differences(wanted: Topic, actual: Topic) -> list[Problem]:
    problems = []
    if actual.partitions != wanted.partitions:
        remedy = (
            f"set MILLSTREAM_KAFKA_PARTITIONS={actual.partitions}, or use another MILLSTREAM_KAFKA_TOPIC_PREFIX: "
            "partitions cannot be changed under a running model line"
        )
        what = f"it has {actual.partitions} partitions, not {wanted.partitions}"
        problems.append(Problem(wanted.name, what, remedy))
    for key, value in {**wanted.needs, **wanted.config}.items():
        if _suffices(key, found := actual.config.get(key, "unknown"), value):
            continue
        remedy = f"set it with kafka-configs.sh --alter --entity-type topics --add-config {key}={value}"
        if key == "retention.ms":
            remedy += ", or MILLSTREAM_KAFKA_RETENTION_HOURS to what it keeps"
        what = f"{key} is {found}, less than {value}" if key in _AT_LEAST else f"{key} is {found}, not {value}"
        problems.append(Problem(wanted.name, what, remedy))
    return problems


def _suffices(key: str, found: str, wanted: str) -> bool:
    if key not in _AT_LEAST or not found.lstrip("-").isdigit():
        return found == wanted
    return int(found) == _UNLIMITED or int(found) >= int(wanted)


def _retention_problems(name: str, config: dict[str, str], join: JoinSettings) -> list[Problem]:
    """The join re-reads open windows after a restart, so the events of a window and an outage must still be there."""
    retention_ms = int(config["retention.ms"])
    needed_ms = int(1000 * (join.window_seconds + OUTAGE_ALLOWANCE_SECONDS))
    if retention_ms == _UNLIMITED or retention_ms >= needed_ms:
        return []
    what = (
        f"retention.ms is {retention_ms}, shorter than the attribution window of {join.window_seconds:g} s "
        f"plus {OUTAGE_ALLOWANCE_SECONDS:g} s for an outage"
    )
    remedy = (
        f"raise it to at least {needed_ms} (MILLSTREAM_KAFKA_RETENTION_HOURS), "
        "or shorten MILLSTREAM_JOIN_WINDOW_SECONDS"
    )
    return [Problem(name, what, remedy)]
