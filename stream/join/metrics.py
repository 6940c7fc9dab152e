"""Metrics of the label join."""

from prometheus_client import CollectorRegistry

from stream.dead_letters import DEAD_LETTER_REASONS, LOST_CLICK_REASONS, LostClickReason
from stream.events import LabeledImpression
from stream.join.producer_watch import MISTAKES
from stream.process.metric_families import MetricFamilies
from stream.worker.metrics import GroupMetrics

RECORD_TYPES = ("impression", "click", "dead_letter")
CLICK_OUTCOMES = ("joined", *(reason.removesuffix("_click") for reason in LOST_CLICK_REASONS))
"""unmatched: read after a restart without its impression, which may have been labeled before it."""

_DELAY_BUCKETS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 60.0, 300.0, 1800.0)


class JoinMetrics:
    """What the label join counts. A term counts when its outcome is written, so a restart may count it again."""

    def __init__(self, registry: CollectorRegistry) -> None:
        families = MetricFamilies(registry, "stream")
        self.records = families.counter("records_total", "Records read from events", type=RECORD_TYPES)
        self.labels = families.counter("labels_total", "Labels written", label=("0", "1"))
        self.clicks = families.counter("clicks_total", "Clicks settled, by outcome", outcome=CLICK_OUTCOMES)
        self.repeats = families.counter("repeats_total", "Second copies of events", type=("impression", "click"))
        self.dead_letters = families.counter("dead_letters_total", "Dead letters written", reason=DEAD_LETTER_REASONS)
        self.producer_mistakes = families.counter(
            "producer_mistakes_total",
            "Events, of one in 16 looked at, that their producer keyed, partitioned or timed wrongly",
            mistake=MISTAKES,
        )
        self.unknown_fields = families.counter("unknown_fields_total", "Events with a field that nobody reads")
        self.windows_cut = families.counter("windows_cut_total", "Windows closed early at the memory bound")
        self.group = GroupMetrics(registry, "stream")
        self.send_failures = families.counter("send_failures_total", "Chunks that had to be sent again")
        self.pending = families.gauge("pending_impressions", "Impressions with an open window")
        self.waiting = families.gauge("waiting_clicks", "Clicks that wait for their impression")
        self.outbox = families.gauge("outbox_records", "Records not yet confirmed by Kafka")
        self.lag = families.gauge("lag_records", "Records of events not yet read")
        self.watermark = families.gauge("watermark_timestamp_seconds", "Oldest watermark of the partitions")
        self.label_delay = families.histogram(
            "label_delay_seconds", "From the moment a label is due to its confirmation", _DELAY_BUCKETS
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
