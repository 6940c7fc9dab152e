"""What `millstream models` and `millstream trainer skip-lost` do on the configured directories."""

from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from scorer.registry import ModelRegistry
from scorer.settings import ModelSettings
from scorer.version_store import ALIASES
from stream.recorded_log import read_log
from stream.settings import JoinSettings, KafkaSettings
from stream.topics import topic_name
from trainer.checkpoint import CheckpointError, load_latest
from trainer.gone_examples import skip_lost
from trainer.process import kafka_publisher, live_start, registry_directory, sole_writer, trainer_directory
from trainer.settings import TrainerSettings
from trainer.source import edge_offsets, write_dead_letters
from trainer.warm_start import init_model_line, labels_of, warm_start


def init_line() -> str:
    """Start a new model line and return what was done."""
    kafka, settings, trainer_dir = KafkaSettings(), TrainerSettings(), trainer_directory()
    registry = ModelRegistry(registry_directory())
    with sole_writer(trainer_dir):
        publisher = kafka_publisher(kafka, registry)
        start = live_start(kafka, settings)
        version = init_model_line(ModelSettings(), settings, trainer_dir, publisher, start)
    return f"version {version} is champion; registry: {registry.root}"


def warm_start_line(log: Path, *, limit: int | None, click_delay_seconds: float) -> str:
    """Teach the current line a recorded log and return what was done.

    Args:
        log: The log; formats in stream/recorded_log.py.
        limit: Impressions to learn; all when None.
        click_delay_seconds: When a positive row of the plain format was clicked; must lie inside the window.

    Raises:
        ValueError: The log cannot be read, or the delay does not fit the window.
    """
    kafka, settings, join, trainer_dir = KafkaSettings(), TrainerSettings(), JoinSettings(), trainer_directory()
    if click_delay_seconds > join.window_seconds:
        message = (
            f"--click-delay {click_delay_seconds:g} is longer than the attribution window of "
            f"{join.window_seconds:g} s (MILLSTREAM_JOIN_WINDOW_SECONDS), so that no row would be positive; shorten it"
        )
        raise ValueError(message)
    rows = labels_of(read_log(log, click_delay_seconds=click_delay_seconds, limit=limit), join)
    columns = (TextColumn("warm start"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    registry = ModelRegistry(registry_directory())
    with sole_writer(trainer_dir), Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("rows", total=len(rows))
        version = warm_start(
            rows,
            settings,
            trainer_dir,
            kafka_publisher(kafka, registry),
            live_start(kafka, settings),
            progress=lambda done: progress.update(task, completed=done),
        )
    num_clicks = sum(row.label for row in rows)
    return f"version {version} has learned {len(rows)} rows with {num_clicks} clicks and is champion"


def skip_lost_examples() -> str:
    """Let the current line go on at what retention has left, and return what was done.

    Raises:
        ValueError: There is no line, or the topic was made anew.
        RuntimeError: The trainer runs, or the topic does not exist.
    """
    kafka, settings, trainer_dir = KafkaSettings(), TrainerSettings(), trainer_directory()
    with sole_writer(trainer_dir):
        topic = topic_name("weighted-examples", kafka)
        beginnings, ends = edge_offsets(kafka, "beginning"), edge_offsets(kafka, "end")
        write = partial(write_dead_letters, kafka)
        gone = skip_lost(trainer_dir, topic, beginnings, ends, write, keep=settings.keep_checkpoints)
    if not gone:
        return "nothing is lost: the trainer can go on where it stands"
    return f"skipped {'; '.join(map(str, gone))}; start the trainer"


def print_versions(console: Console | None = None) -> None:
    """Print a table of all versions."""
    registry = ModelRegistry(registry_directory())
    aliases: dict[str, list[str]] = {}
    for alias in ALIASES:
        if (version := registry.alias(alias)) is not None:
            aliases.setdefault(version, []).append(alias)
    table = Table(box=None, pad_edge=False)
    for name in ("version", "parent", "published (UTC)", "gate", "AUC live → candidate", "aliases"):
        # A name that is cut cannot be copied into the next command.
        table.add_column(name, overflow="fold", min_width=_VERSION_WIDTH if name in {"version", "parent"} else None)
    for version in registry.versions():
        manifest = registry.manifest(version)
        gate = manifest.gate
        judged = gate is not None and gate.auc_live is not None and gate.auc_candidate is not None
        table.add_row(
            version,
            manifest.parent or "-",
            datetime.fromtimestamp(manifest.created_ms / 1000, tz=UTC).strftime("%Y-%m-%d %H:%M:%S"),
            f"{gate.decision}: {gate.reason}" if gate else "-",
            f"{gate.auc_live:.4f} → {gate.auc_candidate:.4f}" if gate and judged else "-",
            ", ".join(aliases.get(version, [])),
        )
    (console or Console(soft_wrap=True)).print(table if table.row_count else _EMPTY)


_VERSION_WIDTH = 15
_EMPTY = "no versions yet; start a model line with 'millstream models init'"


def manifest_json(version: str) -> str:
    """Return the manifest of a version as indented JSON.

    Raises:
        RegistryError: The version does not exist.
    """
    manifest = ModelRegistry(registry_directory()).manifest(version)
    return msgspec.json.format(msgspec.json.encode(manifest), indent=2).decode()


def verify_versions(version: str | None) -> list[str]:
    """Return what is wrong with a version, or with any when None, one line each."""
    registry = ModelRegistry(registry_directory())
    versions = [version] if version else registry.versions()
    return [f"{name}: {problem}" for name in versions for problem in registry.verify(name)]


def prune_versions(keep: int) -> list[str]:
    """Delete all but the newest versions and return what was deleted; the trainer's own parent stays."""
    try:
        protected = [load_latest(trainer_directory()).state.lineage]
    except CheckpointError:
        protected = []
    return ModelRegistry(registry_directory()).prune(keep, protected)
