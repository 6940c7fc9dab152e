"""`python -m trainer`: the trainer process."""

import signal
import sys

import structlog
from kafka.errors import KafkaError

from scorer.settings import ModelSettings
from stream.exposition import process_registry, serve_metrics
from stream.logs import configure_logging
from stream.minute_log import start_minute_log
from stream.settings import KafkaSettings, MetricsSettings
from stream.watchdog import StopRequest, start_watchdog
from trainer.metrics import TrainerMetrics
from trainer.process import run_trainer
from trainer.settings import GateSettings, TrainerSettings

METRICS_PORT = 9104


def run() -> None:
    """Run the trainer until SIGTERM or SIGINT; then finish the update that runs, and return."""
    configure_logging("trainer")
    stopping, settings = StopRequest(), TrainerSettings()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stopping.set())
    registry = process_registry()
    metrics = TrainerMetrics(registry)
    serve_metrics(MetricsSettings(), METRICS_PORT, registry)
    start_minute_log(registry)
    start_watchdog(stopping.progress, settings.stall_seconds)
    run_trainer(KafkaSettings(), ModelSettings(), settings, GateSettings(), metrics, stopping.is_set)
    structlog.get_logger(__name__).info("trainer_stopped")


if __name__ == "__main__":
    try:
        run()
    except (ValueError, RuntimeError, KafkaError) as error:
        sys.exit(f"trainer: {error}")
