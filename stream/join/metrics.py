"""Metrics of the label join and of the adapter."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from stream.dead_letters import LOST_CLICK_REASONS, REASONS, LostClickReason
from stream.events import LabeledImpression
from stream.join.producer_watch import MISTAKES

RECORD_TYPES = ("impression", "click", "dead_letter")
CLICK_OUTCOMES = ("joined", *(reason.removesuffix("_click") for reason in LOST_CLICK_REASONS))
"""unmatched: read after a restart without its impression, which may have been labeled before it."""

_DELAY_BUCKETS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 60.0, 300.0, 1800.0)


class GroupMetrics:
    """What a worker counts about its place in its consumer group.

    Args:
        registry: Where the metrics are shown.
        process: Name of the process.
    """

    def __init__(self, registry: CollectorRegistry, process: str) -> None:
        self.partitions = Gauge(f"millstream_{process}_partitions_count", "Partitions assigned", registry=registry)
        self.rebalances = Counter(
            f"millstream_{process}_rebalances_total", "Times partitions were taken away", registry=registry
        )
        self.stale_records = Counter(
            f"millstream_{process}_stale_records_total",
            "Records skipped because a rebalance overtook them",
            registry=registry,
        )
        self.gone_records = Counter(
            f"millstream_{process}_gone_records_total",
            "Records that retention deleted before they were read",
            registry=registry,
        )
        self.topics_remade = Counter(
            f"millstream_{process}_topics_remade_total",
            "Topics that were deleted and made anew while they were read",
            registry=registry,
        )


class JoinMetrics:
    """What the label join counts. A term counts when its outcome is written, so a restart may count it again."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.records = _counter(
            registry, "millstream_stream_records_total", "Records read from events", "type", RECORD_TYPES
        )
        self.labels = _counter(registry, "millstream_stream_labels_total", "Labels written", "label", ("0", "1"))
        self.clicks = _counter(
            registry, "millstream_stream_clicks_total", "Clicks settled, by outcome", "outcome", CLICK_OUTCOMES
        )
        self.repeats = _counter(
            registry, "millstream_stream_repeats_total", "Second copies of events", "type", ("impression", "click")
        )
        self.dead_letters = _counter(
            registry, "millstream_stream_dead_letters_total", "Dead letters written", "reason", REASONS
        )
        self.producer_mistakes = _counter(
            registry,
            "millstream_stream_producer_mistakes_total",
            "Events, of one in 16 looked at, that their producer keyed, partitioned or timed wrongly",
            "mistake",
            MISTAKES,
        )
        self.unknown_fields = Counter(
            "millstream_stream_unknown_fields_total", "Events with a field that nobody reads", registry=registry
        )
        self.windows_cut = Counter(
            "millstream_stream_windows_cut_total", "Windows closed early at the memory bound", registry=registry
        )
        self.group = GroupMetrics(registry, "stream")
        self.send_failures = Counter(
            "millstream_stream_send_failures_total", "Chunks that had to be sent again", registry=registry
        )
        self.pending = Gauge(
            "millstream_stream_pending_impressions", "Impressions with an open window", registry=registry
        )
        self.waiting = Gauge(
            "millstream_stream_waiting_clicks", "Clicks that wait for their impression", registry=registry
        )
        self.outbox = Gauge("millstream_stream_outbox_records", "Records not yet confirmed by Kafka", registry=registry)
        self.lag = Gauge("millstream_stream_lag_records", "Records of events not yet read", registry=registry)
        self.watermark = Gauge(
            "millstream_stream_watermark_timestamp_seconds", "Oldest watermark of the partitions", registry=registry
        )
        self.label_delay = Histogram(
            "millstream_stream_label_delay_seconds",
            "From the moment a label is due to its confirmation",
            buckets=_DELAY_BUCKETS,
            registry=registry,
        )

    def count_label(self, labeled: LabeledImpression, now_ms: int) -> None:
        """Count a label that Kafka has confirmed, and the clicks in it."""
        self.labels.labels(str(labeled.label)).inc()
        self.label_delay.observe((now_ms - labeled.label_due_ms) / 1000)
        if labeled.click_ids:
            self.clicks.labels("joined").inc()
            self.clicks.labels("further").inc(len(labeled.click_ids) - 1)
        if labeled.window_cut:
            self.windows_cut.inc()

    def count_lost_click(self, reason: LostClickReason) -> None:
        """Count a click that ended as a dead letter."""
        self.clicks.labels(reason.removesuffix("_click")).inc()


class AdapterMetrics:
    """What the adapter counts."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.records = _counter(
            registry,
            "millstream_adapter_records_total",
            "Foreign records settled",
            "outcome",
            ("impression", "click", "skipped", "dead_letter"),
        )
        self.group = GroupMetrics(registry, "adapter")
        self.send_failures = Counter(
            "millstream_adapter_send_failures_total", "Chunks that had to be sent again", registry=registry
        )
        self.lag = Gauge("millstream_adapter_lag_records", "Foreign records not yet settled", registry=registry)
        self.held = Gauge(
            "millstream_adapter_held_records", "Records that wait for older ones of other partitions", registry=registry
        )


def _counter(
    registry: CollectorRegistry, name: str, documentation: str, label: str, values: tuple[str, ...]
) -> Counter:
    counter = Counter(name, documentation, [label], registry=registry)
    for value in values:
        counter.labels(value)
    return counter
