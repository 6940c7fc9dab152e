"""What `millstream models` and `millstream trainer skip-lost` do on the configured directories."""

from contextlib import closing
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from scorer.model.settings import ModelSettings
from scorer.registry.registry import ModelRegistry
from scorer.registry.settings import RegistrySettings
from stream.cluster.releases import ReleaseFollower, announce
from stream.disk.state_home import place_of
from stream.events import Alias
from stream.play.recorded_log import read_log
from stream.settings import JoinSettings, KafkaSettings
from stream.topics import topic_name
from trainer.plans.source import edge_offsets, write_dead_letters
from trainer.process import kafka_publisher, live_start, now_ms, sole_writer
from trainer.promotion.publication import Publisher
from trainer.settings import TrainerSettings
from trainer.state.checkpoint import CheckpointError, current_line, load_latest
from trainer.state.gone_examples import skip_lost
from trainer.warm_start import init_model_line, labels_of, warm_start


def init_line(*, force: bool = False) -> str:
    """Start a new model line and return what was done.

    Args:
        force: Whether it may replace a line that serves.

    Raises:
        ValueError: A line serves, and nothing forces it from its place.
    """
    kafka, settings, trainer_dir = KafkaSettings(), TrainerSettings(), place_of("trainer")
    registry = ModelRegistry(RegistrySettings().root())
    with sole_writer(trainer_dir):
        serving = _serving(kafka, registry)
        if serving and not force:
            message = (
                f"version {serving} serves, and a new line would replace it at once by a version that has learned "
                "nothing and scores everything 0.5; go on with 'millstream trainer run', or repeat with --force"
            )
            raise ValueError(message)
        publisher = kafka_publisher(kafka, registry)
        start = live_start(kafka, settings)
        if serving in registry.versions():
            publisher.move({"previous": serving}, "initialised")
        version = init_model_line(ModelSettings(), settings, trainer_dir, publisher, start)
    replaced = f" in the place of {serving}; 'millstream models rollback {serving}' lets that serve again"
    return f"version {version} is champion{replaced if serving else ''}; registry: {registry.root}"


def announce_aliases() -> list[str]:
    """Announce again what the registry's aliases say, and return it, one line each.

    Raises:
        ValueError: There is no champion, or an alias points to a version that is not there.
    """
    kafka, registry = KafkaSettings(), ModelRegistry(RegistrySettings().root())
    announced: dict[Alias, str] | None = None
    # A trainer that promotes meanwhile announces its own: whoever is last says what the aliases say.
    while announced != (pointed := dict(registry.aliases())):
        if "champion" not in pointed:
            message = f"no version in {registry.root} is champion; start a model line with 'millstream models init'"
            raise ValueError(message)
        Publisher(registry, partial(announce, kafka), {}, now_ms).announce_missing("promoted")
        announced = pointed
    return [f"{alias} is {version}" for alias, version in pointed.items()]


def warm_start_line(log: Path, *, limit: int | None, click_delay_seconds: float) -> str:
    """Teach the current line a recorded log and return what was done.

    Args:
        log: The log; formats in stream/play/recorded_log.py.
        limit: Impressions to learn; all when None.
        click_delay_seconds: When a positive row of the plain format was clicked; must lie inside the window.

    Raises:
        ValueError: The log cannot be read, or the delay does not fit the window.
    """
    kafka, settings, join, trainer_dir = KafkaSettings(), TrainerSettings(), JoinSettings(), place_of("trainer")
    if click_delay_seconds > join.window_seconds:
        message = (
            f"--click-delay {click_delay_seconds:g} is longer than the attribution window of "
            f"{join.window_seconds:g} s (MILLSTREAM_JOIN_WINDOW_SECONDS), so that no row would be positive; shorten it"
        )
        raise ValueError(message)
    current_line(trainer_dir)  # asked before the log is read, which may take minutes
    rows = labels_of(read_log(log, click_delay_seconds=click_delay_seconds, limit=limit), join)
    columns = (TextColumn("warm start"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    registry = ModelRegistry(RegistrySettings().root())
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
    kafka, settings, trainer_dir = KafkaSettings(), TrainerSettings(), place_of("trainer")
    with sole_writer(trainer_dir):
        topic = topic_name("weighted-examples", kafka)
        beginnings, ends = edge_offsets(kafka, "beginning"), edge_offsets(kafka, "end")
        write = partial(write_dead_letters, kafka)
        gone = skip_lost(trainer_dir, topic, beginnings, ends, write, keep=settings.keep_checkpoints)
    if not gone:
        return "nothing is lost: the trainer can go on where it stands"
    return f"skipped {'; '.join(map(str, gone))}; start the trainer"


def verify_versions(version: str | None) -> list[str]:
    """Return what is wrong with a version, or with any when None, one line each."""
    registry = ModelRegistry(RegistrySettings().root())
    versions = [version] if version else sorted({*registry.versions(), *dict(registry.aliases()).values()})
    if not versions:
        return [f"there is no version in {registry.root}"]
    return [f"{name}: {problem}" for name in versions for problem in registry.verify(name)]


def prune_versions(keep: int) -> list[str]:
    """Delete all but the newest versions and return what was deleted; the trainer's own parent stays."""
    try:
        protected = [load_latest(place_of("trainer")).state.lineage]
    except CheckpointError:
        protected = []
    return ModelRegistry(RegistrySettings().root()).prune(keep, protected)


def _serving(kafka: KafkaSettings, registry: ModelRegistry) -> str | None:
    """Return the version that serves as far as the registry or else the topic knows."""
    with closing(ReleaseFollower(kafka)) as follower:
        champion = follower.catch_up().get("champion")
    return registry.alias("champion") or (champion.version if champion else None)
