"""`millstream doctor`: looks at everything a run needs and says what to do about what is missing."""

import os
import shutil
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from deploy.local_kafka.distribution import LocalKafkaError, find_java, jars_present
from deploy.newest_events import newest_events, producers_mistakes
from scorer.registry.settings import RegistrySettings
from scorer.registry.version_store import ALIASES, RegistryError, VersionStore, released_root
from scorer.settings import ScorerSettings
from stream.adapter.mapping import read_mapping
from stream.adapter.source_topics import check_source_topics
from stream.cluster.admin import ClusterError, check_topics, connect_admin
from stream.cluster.compression import CODECS, unreadable_codecs
from stream.cluster.releases import ReleaseFollower, ReleasesUnavailableError
from stream.configuration.ports import METRICS_PORTS, SERVICE_PORT
from stream.configuration.setting_names import setting_errors
from stream.configuration.settings_file import settings_file
from stream.disk.state_home import state_directory
from stream.events import Alias, ModelRelease
from stream.process.error_line import error_line
from stream.settings import AdapterSettings, JoinSettings, KafkaSettings
from trainer.settings import TrainerSettings

State = Literal["ok", "warn", "fail"]

DEFAULT_PORTS = {f"{process} metrics": port for process, port in METRICS_PORTS.items()} | {"service": SERVICE_PORT}
"""Loopback port of each process where its settings name none."""

NEEDED_DISK_BYTES = 2 * 2**30
"""Two days of a small shop's topics, and fifty model versions that share their frozen tensors."""


LEAST_DISK_BYTES = 256 * 2**20
"""A few checkpoints of a small model: with less free, a running trainer ends soon."""

_ON_THE_CLUSTER = {"adapter", "producers", "releases"}
"""Parts that would each wait once more for a cluster that does not answer."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        state: ok; warn, where something may become a problem or is not needed by all; or fail.
        subject: What was looked at.
        what: What was found.
        remedy: What to do about it; empty when all is well.
    """

    state: State
    subject: str
    what: str
    remedy: str = ""


def examine() -> list[Finding]:
    """Return what was found, from the ground up; what keeps one part from being looked at is a finding of its own."""
    parts: dict[str, Callable[[], Iterator[Finding]]] = {
        "settings": examine_settings,
        "disk": lambda: examine_disk(state_directory(), shutil.disk_usage),
        "java": lambda: examine_local_kafka(named="bootstrap" in KafkaSettings().model_fields_set),
        "codecs": examine_codecs,
        "cluster": lambda: examine_cluster(KafkaSettings(), JoinSettings()),
        "adapter": lambda: examine_adapter(KafkaSettings(), AdapterSettings()),
        "producers": lambda: examine_producers(KafkaSettings()),
        "model": lambda: examine_model(RegistrySettings().root()),
        "releases": lambda: examine_releases(KafkaSettings(), RegistrySettings().root()),
        "strategy": lambda: examine_strategy(JoinSettings(), ScorerSettings(), TrainerSettings()),
        "ports": lambda: examine_ports(DEFAULT_PORTS),
    }
    findings: list[Finding] = []
    for subject, part in parts.items():
        unreachable = any(finding.subject == "cluster" and finding.state == "fail" for finding in findings)
        if not (unreachable and subject in _ON_THE_CLUSTER):
            findings += _independently(subject, part)
    return findings


def _independently(subject: str, part: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    try:
        yield from part()
    except Exception as error:  # noqa: BLE001 (the other findings are wanted most when one part is broken)
        yield Finding("fail", subject, error_line(error))


def _judged(subject: str, problems: Iterable[tuple[str, str]], well: str, *, bad: State = "fail") -> Iterator[Finding]:
    """Yield a finding for each problem and its remedy, or one that says that all is well."""
    findings = [Finding(bad, subject, what, remedy) for what, remedy in problems]
    yield from findings or [Finding("ok", subject, well)]


def examine_settings() -> Iterator[Finding]:
    """Yield what is misspelt or wrong in the environment and in the settings file."""
    file = settings_file()
    problems = [(error_line(error), "") for error in setting_errors()]
    yield from _judged(
        "settings", problems, f"right in the environment and {f'in {file}' if file else 'without a file'}"
    )


def examine_disk(directory: Path, usage: Callable[[Path], tuple[int, int, int]]) -> Iterator[Finding]:
    """Yield whether there is room where state is kept.

    Args:
        directory: The state directory; need not exist.
        usage: Total, used and free bytes of the file system of an existing path, as `shutil.disk_usage` gives them.
    """
    existing = next(path for path in (directory, *directory.absolute().parents) if path.exists())
    if not os.access(existing, os.W_OK | os.X_OK):
        remedy = (
            "give this user the right to write there, mount it for writing, or set MILLSTREAM_HOME to another place"
        )
        yield Finding("fail", "disk", f"{existing} cannot be written to", remedy)
        return
    free = usage(existing)[2]
    what = f"{free / 2**30:.1f} GiB free in {directory}"
    if free < LEAST_DISK_BYTES:
        remedy = (
            "free space there at once, or set MILLSTREAM_HOME to a larger disk: trainer and evaluator end when full"
        )
        yield Finding("fail", "disk", what, remedy)
    elif free >= NEEDED_DISK_BYTES:
        yield Finding("ok", "disk", what)
    else:
        remedy = f"free {NEEDED_DISK_BYTES / 2**30:g} GiB, or set MILLSTREAM_HOME to a larger disk"
        yield Finding("warn", "disk", what, remedy)


def examine_local_kafka(*, named: bool) -> Iterator[Finding]:
    """Yield whether a local Kafka could be started; it need not be when the settings name a cluster."""
    if named:
        yield Finding("ok", "java", "not needed: the settings name a cluster")
        return
    try:
        java = find_java()
    except LocalKafkaError as error:
        yield Finding("warn", "java", str(error), "only a local Kafka needs it")
        return
    yield Finding("ok", "java", str(java))
    if jars_present():
        yield Finding("ok", "jars", "the jars of Apache Kafka are here")
    else:
        remedy = "'millstream kafka up' fetches them once, 45 MB"
        yield Finding("warn", "jars", "the jars of Apache Kafka are not here yet", remedy)


def examine_cluster(kafka: KafkaSettings, join: JoinSettings) -> Iterator[Finding]:
    """Yield whether the cluster answers and its topics, retention included, are as they should be."""
    try:
        admin = connect_admin(kafka)
        num_brokers = len(admin.describe_cluster()["brokers"])
        admin.close()
    except ClusterError as error:
        yield Finding("fail", "cluster", *str(error).split("; ", 1))
        return
    yield Finding("ok", "cluster", f"{num_brokers} broker{'s' if num_brokers > 1 else ''} at {kafka.bootstrap}")
    problems = [(f"{problem.topic}: {problem.what}", problem.remedy) for problem in check_topics(kafka, join)]
    yield from _judged("topics", problems, "partitions, configuration and retention are as they should be")


def examine_adapter(kafka: KafkaSettings, adapter: AdapterSettings) -> Iterator[Finding]:
    """Yield whether the adapter's mapping can be read and its topics exist; nothing where no mapping is set."""
    if "mapping" not in adapter.model_fields_set:
        return
    topics = {source.topic for source in read_mapping(adapter.mapping)}
    try:
        found = check_source_topics(kafka, topics, adapter.mapping)
    except ClusterError:
        return  # told by the cluster's own finding
    problems = [(f"{problem.topic}: {problem.what}", problem.remedy) for problem in found]
    yield from _judged("adapter", problems, f"{adapter.mapping} reads {', '.join(sorted(topics))}")


def examine_producers(kafka: KafkaSettings) -> Iterator[Finding]:
    """Yield whether the newest events are keyed, partitioned and timed as the join needs them."""
    try:
        records = newest_events(kafka)
    except ClusterError:
        return  # told by the cluster's own finding
    well = f"the {len(records)} newest events are keyed, partitioned and timed right"
    yield from _judged("producers", producers_mistakes(records, kafka.partitions), well, bad="warn")


def examine_codecs() -> Iterator[Finding]:
    """Yield whether both Kafka clients can read topics in every compression that a cluster may be set to."""
    problems = [
        (
            f"{client} cannot read topics compressed with {codec}",
            f"install it with 'pip install \"{client}[{codec}]\"', as requirements.lock does",
        )
        for client, codec in unreadable_codecs()
    ]
    yield from _judged("codecs", problems, f"topics compressed with {', '.join(CODECS)} can be read")


def examine_model(root: Path) -> Iterator[Finding]:
    """Yield whether there is a champion and it is what was published."""
    start = "start a model line with 'millstream models init'"
    if not root.is_dir():
        yield Finding("fail", "model", f"no registry in {root}", start)
        return
    from scorer.registry.registry import ModelRegistry  # it needs torch, and where nothing is served it is not needed

    registry = ModelRegistry(root)
    try:
        champion = registry.alias("champion")
    except RegistryError as error:
        yield Finding("fail", "model", *error_line(error).split("; ", 1))
        return
    if champion is None:
        yield Finding("fail", "model", "no version is champion", start)
        return
    try:
        problems = registry.verify(champion)
    except RegistryError as error:
        problems = [error_line(error)]
    remedy = "restore its directory from a copy, or 'millstream models rollback' to another version"
    told = [(f"champion {champion}: {problem}", remedy) for problem in problems]
    yield from _judged("model", told, f"champion {champion} is what was published")


def examine_releases(kafka: KafkaSettings, root: Path) -> Iterator[Finding]:
    """Yield whether the release topic, which every scorer obeys, says what the registry holds.

    Nothing where the topic is missing: another finding says so.
    """
    try:
        with closing(ReleaseFollower(kafka)) as follower:
            released = follower.catch_up()
    except ReleasesUnavailableError:
        return
    store = VersionStore(root)
    pointed = dict(store.aliases())
    found = [_disagreement(alias, released.get(alias), pointed.get(alias), store) for alias in ALIASES]
    if released or any(found):
        yield from _judged("releases", filter(None, found), "the topic says what the registry holds")


def _disagreement(
    alias: Alias, release: ModelRelease | None, pointed: str | None, store: VersionStore
) -> tuple[str, str] | None:
    """Return what the topic and the registry say differently of an alias, and the remedy."""
    if release is None:
        if pointed is None:
            return None
        what = f"no release says that {alias} is {pointed}, so no scorer will hear of it"
        return what, "repeat it with 'millstream models announce'"
    try:
        digest = VersionStore(released_root(release, store.root)).digest(release.version)
    except RegistryError as error:
        remedy = "set MILLSTREAM_REGISTRY_DIRECTORY to the registry, or restore it from a copy"
        return f"the topic says that {alias} is {release.version}: {error_line(error)}", remedy
    if digest != release.digest:
        what = f"{alias} {release.version}: its manifest has sha256 {digest}, the release names {release.digest}"
        return what, "restore its directory from a copy"
    if release.version != pointed:
        what = f"the topic says that {alias} is {release.version}, the registry says {pointed}"
        return what, "start the trainer, or repeat what the registry says with 'millstream models announce'"
    return None


def examine_strategy(join: JoinSettings, scorer: ScorerSettings, trainer: TrainerSettings) -> Iterator[Finding]:
    """Yield whether the importance strategy gets what it is made for: these settings belong to different processes."""
    name = scorer.strategy
    problems: list[tuple[str, str]] = []
    if name == "delay_fnw" and not join.early_negative:
        remedy = "set MILLSTREAM_JOIN_EARLY_NEGATIVE=true, or choose another MILLSTREAM_SCORER_STRATEGY"
        problems.append(("its weights are for clicks that come after an early negative, and none are sent", remedy))
    if name != "delay_fnw" and join.early_negative:
        remedy = "set MILLSTREAM_SCORER_STRATEGY=delay_fnw, or MILLSTREAM_JOIN_EARLY_NEGATIVE=false"
        problems.append(("the join sends early negatives, which it learns as if nobody had clicked", remedy))
    if name == "rho_ref" and scorer.frozen_share < 1:
        remedy = "set MILLSTREAM_SCORER_FROZEN_SHARE=1, so that every row has a reference"
        problems.append((f"rows without a reference weigh 1, and {1 - scorer.frozen_share:.0%} have none", remedy))
    if name in {"recency", "density_ratio"} and trainer.replay_share == 0:
        remedy = "set MILLSTREAM_TRAINER_REPLAY_SHARE above 0, or choose another MILLSTREAM_SCORER_STRATEGY"
        problems.append(("it weighs replayed rows, and none are replayed", remedy))
    told = [(f"{name}: {what}", remedy) for what, remedy in problems]
    yield from _judged("strategy", told, f"{name} has what it needs", bad="warn")


def examine_ports(ports: dict[str, int]) -> Iterator[Finding]:
    """Yield the ports on 127.0.0.1 that are taken: right for a process that runs, wrong for one to be started."""
    problems = []
    for name, port in ports.items():
        if _listens(port):
            setting = "MILLSTREAM_SERVICE_PORT" if name == "service" else "MILLSTREAM_METRICS_PORT"
            remedy = f"right if that process runs; else start it with {setting} set to another port"
            problems.append((f"{name} {port} is taken", remedy))
    yield from _judged("ports", problems, f"free: {', '.join(map(str, ports.values()))}", bad="warn")


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
