"""Metrics of every process that serves a live model."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from scorer.live.model_slot import SWAP_RESULTS
from scorer.registry.version_store import parse_version

SECONDS_BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
DELAY_BUCKETS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 60.0, 300.0, 1800.0)


class ModelMetrics:
    """What a process counts about the model it serves.

    Args:
        registry: Where they are shown.
        process: Name of the process: scorer or service.
    """

    def __init__(self, registry: CollectorRegistry, process: str) -> None:
        self.swaps = Counter(
            f"millstream_{process}_swaps_total",
            "Champion releases, by what became of them",
            ["result"],
            registry=registry,
        )
        for result in SWAP_RESULTS:
            self.swaps.labels(result)
        self.frozen_loads = Counter(
            f"millstream_{process}_frozen_loads_total", "Frozen releases, by result", ["result"], registry=registry
        )
        for result in ("loaded", "failed"):
            self.frozen_loads.labels(result)
        self.releases_polled = Gauge(
            f"millstream_{process}_releases_polled_timestamp_seconds",
            "When the model releases were last polled; one that stands still means that no new version will serve",
            registry=registry,
        )
        self.unusable_releases = Counter(
            f"millstream_{process}_unusable_releases_total",
            "Records of model-releases that are no release",
            registry=registry,
        )
        self.model_number = Gauge(
            f"millstream_{process}_model_number", "Number of the live version in its line", registry=registry
        )
        self.swap_seconds = Histogram(
            f"millstream_{process}_swap_seconds",
            "Preparing a release aside, and switching to it",
            ["step"],
            buckets=SECONDS_BUCKETS,
            registry=registry,
        )
        for step in ("prepare", "switch"):
            self.swap_seconds.labels(step)
        self.release_delay = Histogram(
            f"millstream_{process}_release_delay_seconds",
            "From the announcement of a release until it serves here",
            buckets=DELAY_BUCKETS,
            registry=registry,
        )

    def show_version(self, version: str) -> None:
        """Show which version is live, by its number: a label per version would never stop growing."""
        self.model_number.set(parse_version(version)[1])
