"""Metrics of the adapter."""

from prometheus_client import CollectorRegistry

from stream.process.metric_families import MetricFamilies
from stream.worker.metrics import GroupMetrics


class AdapterMetrics:
    """What the adapter counts."""

    def __init__(self, registry: CollectorRegistry) -> None:
        families = MetricFamilies(registry, "adapter")
        self.records = families.counter(
            "records_total", "Foreign records settled", outcome=("impression", "click", "skipped", "dead_letter")
        )
        self.group = GroupMetrics(registry, "adapter")
        self.send_failures = families.counter("send_failures_total", "Chunks that had to be sent again")
        self.lag = families.gauge("lag_records", "Foreign records not yet settled")
        self.held = families.gauge("held_records", "Records that wait for older ones of other partitions")
