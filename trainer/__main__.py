"""`python -m trainer`: the trainer process."""

import signal
import sys
from importlib import import_module

import structlog

from scorer.model.settings import ModelSettings
from stream.process.exposition import process_registry, serve_metrics
from stream.process.minute_log import start_minute_log
from stream.process.start import REFUSED, require_cluster, start_process
from stream.process.watchdog import StopRequest, start_watchdog
from stream.settings import KafkaSettings, MetricsSettings
from trainer.settings import GateSettings, TrainerSettings


def run() -> None:
    """Run the trainer until SIGTERM or SIGINT; then finish the update that runs, and return."""
    stopping, settings = StopRequest(), TrainerSettings()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stopping.set())
    require_cluster()
    registry = process_registry()
    # Loaded by name: torch takes seconds to import, and what is wrong should be said before.
    metrics = import_module("trainer.metrics").TrainerMetrics(registry)
    serve_metrics("trainer", MetricsSettings(), registry)
    start_minute_log(registry)
    run_trainer = import_module("trainer.process").run_trainer
    start_watchdog(stopping.progress, settings.stall_seconds)
    run_trainer(KafkaSettings(), ModelSettings(), settings, GateSettings(), metrics, stopping.is_set)
    structlog.get_logger(__name__).info("trainer_stopped")


def main(arguments: list[str]) -> None:
    """Run the trainer.

    Raises:
        SystemExit: with one line that says what is wrong, if it cannot start.
    """
    if arguments:
        sys.stderr.write(f"trainer: unknown process {' '.join(arguments)!r}; use `python -m trainer`\n")
        sys.exit(REFUSED)
    start_process("trainer", run)


if __name__ == "__main__":
    main(sys.argv[1:])
