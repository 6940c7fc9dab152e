"""`python -m trainer`: the trainer process."""

import sys

import structlog

from scorer.model.settings import ModelSettings
from stream.cluster.admin import require_cluster
from stream.process.signals import stop_on_signals
from stream.process.start import Process, start_one_of
from stream.process.watchdog import StopRequest, start_watchdog
from stream.settings import KafkaSettings
from trainer.settings import GateSettings, TrainerSettings


def run(process: Process) -> None:
    """Run the trainer until SIGTERM or SIGINT; then finish the update that runs, and return."""
    kafka, settings = KafkaSettings(), TrainerSettings()
    with stop_on_signals(StopRequest()) as stopping:
        require_cluster(kafka)
        # Imported now: torch takes seconds to load, and what is wrong should be said before.
        from trainer.metrics import TrainerMetrics

        metrics = TrainerMetrics(process.registry)
        process.show_metrics()
        from trainer.process import run_trainer

        start_watchdog(stopping.progress, settings.stall_seconds)
        run_trainer(kafka, ModelSettings(), settings, GateSettings(), metrics, stopping.is_set)
        structlog.get_logger(__name__).info("trainer_stopped")


def main(arguments: list[str]) -> None:
    """Run the trainer."""
    start_one_of("trainer", {"": ("trainer", run)}, arguments)


if __name__ == "__main__":
    main(sys.argv[1:])
