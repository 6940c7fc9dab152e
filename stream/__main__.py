"""`python -m stream`: the label-join worker; `python -m stream adapter`: the adapter of foreign topics."""

import sys

import structlog

from stream.adapter.agent import create_adapter_app
from stream.adapter.mapping import read_mapping
from stream.adapter.metrics import AdapterMetrics
from stream.adapter.source_topics import check_source_topics
from stream.cluster.admin import check_topics, refuse
from stream.join.agent import create_join_app, first_label
from stream.join.metrics import JoinMetrics
from stream.process.exposition import process_registry, serve_metrics
from stream.process.minute_log import start_minute_log
from stream.process.start import REFUSED, start_process
from stream.settings import AdapterSettings, JoinSettings, KafkaSettings, MetricsSettings
from stream.worker.faust_app import run_app
from stream.worker.slot import worker_slot


def run_join() -> None:
    """Run a label-join worker until it is told to stop."""
    kafka, settings = KafkaSettings(), JoinSettings()
    with worker_slot("stream", kafka, instance=settings.instance):
        refuse(check_topics(kafka, settings))
        registry = process_registry()
        app = create_join_app(kafka, settings, JoinMetrics(registry))
        serve_metrics("stream", MetricsSettings(), registry)
        start_minute_log(registry)
        structlog.get_logger(__name__).info("join_started", first_label=first_label(settings))
        run_app(app, "stream")


def run_adapter() -> None:
    """Run an adapter worker until it is told to stop."""
    kafka, settings = KafkaSettings(), AdapterSettings()
    sources = read_mapping(settings.mapping)
    with worker_slot("adapter", kafka, instance=settings.instance):
        refuse(
            check_topics(kafka, JoinSettings())
            + check_source_topics(kafka, {source.topic for source in sources}, settings.mapping)
        )
        registry = process_registry()
        app = create_adapter_app(kafka, settings, sources, AdapterMetrics(registry))
        serve_metrics("adapter", MetricsSettings(), registry)
        start_minute_log(registry)
        run_app(app, "adapter")


PROCESSES = {"": ("stream", run_join), "adapter": ("adapter", run_adapter)}
"""Name of each process and what runs it, by its argument."""


def main(arguments: list[str]) -> None:
    """Run the process that the arguments name.

    Raises:
        SystemExit: with one line that says what is wrong, if it cannot start.
    """
    process = " ".join(arguments)
    if process not in PROCESSES:
        sys.stderr.write(f"stream: unknown process {process!r}; use `python -m stream` or `python -m stream adapter`\n")
        sys.exit(REFUSED)
    start_process(*PROCESSES[process])


if __name__ == "__main__":
    main(sys.argv[1:])
