"""Metrics of the scorer."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from scorer.importance.metrics import ImportanceMetrics
from scorer.importance.strategy import Strategy
from scorer.live.metrics import DELAY_BUCKETS, SECONDS_BUCKETS, ModelMetrics
from scorer.scoring.micro_batch import MicroBatch
from stream.dead_letters import REASONS
from stream.join.metrics import GroupMetrics

STAGES = ("decode", "forward", "encode", "publish")
"""decode: bytes to labeled impressions; forward: scores and weights; encode: examples to Arrow bytes; publish: until
Kafka has confirmed them."""

_ROWS_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


class ScorerMetrics:
    """What the scorer counts about rows. A row counts when it is confirmed, so a restart may count it again."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.model = ModelMetrics(registry, "scorer")
        self.rows = Counter("millstream_scorer_rows_total", "Rows by label", ["label"], registry=registry)
        for label in ("0", "1"):
            self.rows.labels(label)
        self.batches = Counter("millstream_scorer_batches_total", "Micro-batches confirmed", registry=registry)
        self.batch_rows = Histogram(
            "millstream_scorer_batch_rows", "Rows of a micro-batch", buckets=_ROWS_BUCKETS, registry=registry
        )
        self.stage_seconds = Histogram(
            "millstream_scorer_stage_seconds",
            "Time of a micro-batch in each stage",
            ["stage"],
            buckets=SECONDS_BUCKETS,
            registry=registry,
        )
        for stage in STAGES:
            self.stage_seconds.labels(stage)
        self.dead_letters = Counter(
            "millstream_scorer_dead_letters_total", "Dead letters written", ["reason"], registry=registry
        )
        for reason in REASONS:
            self.dead_letters.labels(reason)
        self.group = GroupMetrics(registry, "scorer")
        self.send_failures = _counter(registry, "send_failures_total", "Micro-batches that had to be sent again")
        self.score_failures = _counter(registry, "score_failures_total", "Micro-batches whose scoring failed")
        self.tokens = _gauge(registry, "scored_tokens", "Tokens the live version has scored since the start")
        self.unknown_tokens = _gauge(registry, "unknown_tokens_ratio", "Share of them unknown to the tokenizer")
        self.queue = _gauge(registry, "queue_rows", "Rows read and waiting for the model")
        self.lag = _gauge(registry, "lag_records", "Labeled impressions not yet scored")
        self.label_delay = Histogram(
            "millstream_scorer_label_delay_seconds",
            "From the moment a label is due to its score",
            buckets=DELAY_BUCKETS,
            registry=registry,
        )
        self.importance = ImportanceMetrics(registry)

    def count(self, batch: MicroBatch, strategy: Strategy) -> None:
        """Count a confirmed micro-batch.

        Args:
            batch: What was written.
            strategy: What weighed it, in the state in which that left it.
        """
        self.batches.inc()
        for reason in batch.dead_letters:
            self.dead_letters.labels(reason).inc()
        examples = batch.examples
        if not examples:
            return
        self.batch_rows.observe(len(examples))
        clicks = sum(example.labeled.label for example in examples)
        self.rows.labels("1").inc(clicks)
        self.rows.labels("0").inc(len(examples) - clicks)
        for example in examples:
            self.label_delay.observe((example.scored_ms - example.labeled.label_due_ms) / 1000)
        self.importance.count(examples, strategy)

    def show_tokens(self, num_tokens: int, num_unknown: int) -> None:
        """Show how much text was read since the start, and how much of it the tokenizer did not know."""
        self.tokens.set(num_tokens)
        self.unknown_tokens.set(num_unknown / num_tokens if num_tokens else 0.0)


def _counter(registry: CollectorRegistry, name: str, documentation: str) -> Counter:
    return Counter(f"millstream_scorer_{name}", documentation, registry=registry)


def _gauge(registry: CollectorRegistry, name: str, documentation: str) -> Gauge:
    return Gauge(f"millstream_scorer_{name}", documentation, registry=registry)
