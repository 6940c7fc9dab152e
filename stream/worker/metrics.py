"""Metrics of every worker."""

from prometheus_client import CollectorRegistry

from stream.process.metric_families import MetricFamilies


class GroupMetrics:
    """What a worker counts about its place in its consumer group.

    Args:
        registry: Where the metrics are shown.
        process: Name of the process.
    """

    def __init__(self, registry: CollectorRegistry, process: str) -> None:
        families = MetricFamilies(registry, process)
        self.partitions = families.gauge("partitions_count", "Partitions assigned")
        self.rebalances = families.counter("rebalances_total", "Times partitions were taken away")
        self.stale_records = families.counter(
            "stale_records_total", "Records skipped because a rebalance overtook them"
        )
        self.gone_records = families.counter(
            "gone_records_total", "Records that retention deleted before they were read"
        )
        self.topics_remade = families.counter(
            "topics_remade_total", "Topics that were deleted and made anew while they were read"
        )
