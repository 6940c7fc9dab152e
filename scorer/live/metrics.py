"""Metrics of every process that serves a live model."""

from prometheus_client import CollectorRegistry

from scorer.live.model_slot import SWAP_RESULTS
from scorer.registry.version_store import parse_version
from stream.process.metric_families import MetricFamilies

SECONDS_BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
DELAY_BUCKETS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 60.0, 300.0, 1800.0)


class ModelMetrics:
    """What a process counts about the model it serves.

    Args:
        registry: Where they are shown.
        process: Name of the process: scorer or service.
    """

    def __init__(self, registry: CollectorRegistry, process: str) -> None:
        families = MetricFamilies(registry, process)
        self.swaps = families.counter("swaps_total", "Champion releases, by what became of them", result=SWAP_RESULTS)
        self.frozen_loads = families.counter(
            "frozen_loads_total", "Frozen releases, by result", result=("loaded", "failed")
        )
        self.releases_polled = families.gauge(
            "releases_polled_timestamp_seconds",
            "When the model releases were last polled; one that stands still means that no new version will serve",
        )
        self.unusable_releases = families.counter(
            "unusable_releases_total", "Records of model-releases that are no release"
        )
        self.model_number = families.gauge("model_number", "Number of the live version in its line")
        self.swap_seconds = families.histogram(
            "swap_seconds",
            "Preparing a release aside, and switching to it",
            SECONDS_BUCKETS,
            step=("prepare", "switch"),
        )
        self.release_delay = families.histogram(
            "release_delay_seconds", "From the announcement of a release until it serves here", DELAY_BUCKETS
        )

    def show_version(self, version: str) -> None:
        """Show which version is live, by its number: a label per version would never stop growing."""
        self.model_number.set(parse_version(version)[1])
