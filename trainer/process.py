"""The trainer on real Kafka: everything the loop and the model commands need, built from settings."""

import os
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, closing
from functools import partial
from pathlib import Path

import structlog
from kafka.errors import KafkaError

from scorer.model.device import prepare_device
from scorer.model.settings import ModelSettings
from scorer.registry.registry import ModelRegistry
from scorer.registry.settings import RegistrySettings
from stream.cluster.outage import Outage
from stream.cluster.releases import ReleaseFollower, announce
from stream.disk.directory_lock import directory_lock
from stream.disk.durable_files import free_bytes, sweep_leftovers
from stream.disk.state_home import place_of
from stream.events import ModelRelease
from stream.settings import KafkaSettings
from trainer.line import ModelLine
from trainer.loop import Edges, Trainer
from trainer.metrics import TrainerMetrics
from trainer.patient_edges import PatientInbox, PatientSource
from trainer.plans.source import KafkaExampleSource, edge_offsets
from trainer.promotion.commands import KafkaCommandInbox, end_of_commands
from trainer.promotion.publication import Publisher
from trainer.settings import GateSettings, TrainerSettings
from trainer.state.checkpoint import current_line
from trainer.state.contract import check_contract, contract_of
from trainer.state.failpoints import Failpoints
from trainer.state.line_stores import LineStores
from trainer.state.sound_version import load_anchor, load_sound_version
from trainer.warm_start import Start, check_finished


def sole_writer(trainer_dir: Path) -> AbstractContextManager[None]:
    """Hold the trainer's directory: two writers would tear one history in two.

    Raises:
        DirectoryBusyError: another process holds it.
    """
    return directory_lock(trainer_dir, "stop the running trainer first, or set MILLSTREAM_HOME to another directory")


def kafka_publisher(kafka: KafkaSettings, registry: ModelRegistry, outage: Outage | None = None) -> Publisher:
    """Return the outgoing side on real Kafka, knowing what has been announced so far.

    Args:
        kafka: Cluster and topic prefix.
        registry: Where versions are.
        outage: How an announcement waits for a broker that does not answer; None fails then.
    """
    with closing(ReleaseFollower(kafka)) as follower:
        announced = follower.catch_up()

    def tell(releases: Sequence[ModelRelease]) -> None:
        call = partial(announce, kafka, releases)
        outage.through(call) if outage else call()

    return Publisher(registry, tell, announced, now_ms)


def live_start(kafka: KafkaSettings, settings: TrainerSettings) -> Start:
    """Return where in the live stream a new line begins."""
    return Start(offsets=edge_offsets(kafka, settings.start), command_offset=end_of_commands(kafka))


def now_ms() -> int:
    """Return the wall clock in epoch milliseconds."""
    return time.time_ns() // 1_000_000


def run_trainer(
    kafka: KafkaSettings,
    model: ModelSettings,
    settings: TrainerSettings,
    gate: GateSettings,
    metrics: TrainerMetrics,
    stop: Callable[[], bool],
) -> None:
    """Run the trainer until asked to stop; the update that runs is finished first.

    Raises:
        ValueError: there is no model line, or it does not fit the settings or the topic.
        RuntimeError: the log cannot be read from where the trainer stands, or another trainer runs.
    """
    trainer_dir = place_of("trainer")
    with sole_writer(trainer_dir), ExitStack() as connections:
        sweep_leftovers(trainer_dir)
        metrics.state_free_bytes.set_function(lambda: free_bytes(trainer_dir))
        registry = ModelRegistry(RegistrySettings().root())
        failpoints = Failpoints(os.environ.get("MILLSTREAM_FAILPOINT", ""))
        name, keep = current_line(trainer_dir), settings.keep_checkpoints
        stores = LineStores(trainer_dir, name, keep=keep, failpoints=failpoints)
        checkpoint = stores.checkpoints.load_latest()
        state = checkpoint.state
        check_finished(state, registry)
        bundle = load_sound_version(
            registry, state, device=prepare_device(model), cached_segments=model.cached_segments
        )
        source = connections.enter_context(closing(KafkaExampleSource(kafka, metrics.unreadable_records)))
        check_contract(state.contract, contract_of(model, bundle, source.num_partitions))
        outage = Outage(stop)
        commands = KafkaCommandInbox(kafka, state.command_offset, metrics.unusable_commands.inc)
        inbox = connections.enter_context(closing(commands))
        edges = Edges(
            source=PatientSource(source, outage),
            publisher=kafka_publisher(kafka, registry, outage),
            inbox=PatientInbox(inbox, outage),
            metrics=metrics,
            clock=time.monotonic,
            failpoints=failpoints,
        )
        line = ModelLine(bundle, checkpoint, settings, gate, load_anchor(registry, bundle))
        trainer = Trainer(line, checkpoint.name, stores, edges, settings)
        try:
            trainer.run(stop)
        except KafkaError as error:
            # Asked to stop while Kafka does not answer: as after a crash, the next start finishes what had begun.
            if not stop():
                raise
            structlog.get_logger(__name__).warning("stopped_without_kafka", message=str(error))
