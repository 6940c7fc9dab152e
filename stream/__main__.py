"""`python -m stream`: the label-join worker; `python -m stream adapter`: the adapter of foreign topics."""

import sys

from stream.agent import create_join_app
from stream.app import run_app
from stream.exposition import process_registry, serve_metrics
from stream.logs import configure_logging
from stream.metrics import JoinMetrics
from stream.settings import JoinSettings, KafkaSettings, MetricsSettings
from stream.topic_admin import ClusterError, check_topics

JOIN_METRICS_PORT = 9101


def run_join() -> None:
    """Run a label-join worker until it is told to stop."""
    configure_logging("stream")
    kafka, settings = KafkaSettings(), JoinSettings()
    require_topics(kafka, settings)
    registry = process_registry()
    app = create_join_app(kafka, settings, JoinMetrics(registry))
    serve_metrics(MetricsSettings(), JOIN_METRICS_PORT, registry)
    run_app(app, "stream")


def require_topics(kafka: KafkaSettings, settings: JoinSettings) -> None:
    """Raise ValueError, naming the remedy, if a topic is missing or would lose what the join must re-read."""
    if problems := check_topics(kafka, settings):
        raise ValueError("; ".join(map(str, problems)))


if __name__ == "__main__":
    try:
        run_join()
    except (ValueError, ClusterError) as error:
        sys.exit(f"stream: {error}")
