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
from stream.process.start import Process, start_one_of
from stream.settings import AdapterSettings, JoinSettings, KafkaSettings
from stream.worker.faust_app import run_app
from stream.worker.slot import worker_slot


def run_join(process: Process) -> None:
    """Run a label-join worker until it is told to stop."""
    kafka, settings = KafkaSettings(), JoinSettings()
    with worker_slot(process.name, kafka, instance=settings.instance):
        refuse(check_topics(kafka, settings))
        app = create_join_app(kafka, settings, JoinMetrics(process.registry))
        process.show_metrics()
        structlog.get_logger(__name__).info("join_started", first_label=first_label(settings))
        run_app(app, process.name)


def run_adapter(process: Process) -> None:
    """Run an adapter worker until it is told to stop."""
    kafka, settings = KafkaSettings(), AdapterSettings()
    sources = read_mapping(settings.mapping)
    with worker_slot(process.name, kafka, instance=settings.instance):
        refuse(
            check_topics(kafka, JoinSettings())
            + check_source_topics(kafka, {source.topic for source in sources}, settings.mapping)
        )
        app = create_adapter_app(kafka, settings, sources, AdapterMetrics(process.registry))
        process.show_metrics()
        run_app(app, process.name)


def main(arguments: list[str]) -> None:
    """Run the process that the arguments name."""
    start_one_of("stream", {"": ("stream", run_join), "adapter": ("adapter", run_adapter)}, arguments)


if __name__ == "__main__":
    main(sys.argv[1:])
