"""Metrics of the scorer."""

from prometheus_client import CollectorRegistry

from scorer.importance.metrics import ImportanceMetrics
from scorer.importance.strategy import Strategy
from scorer.live.metrics import DELAY_BUCKETS, SECONDS_BUCKETS, ModelMetrics
from scorer.scoring.micro_batch import MicroBatch
from stream.dead_letters import DEAD_LETTER_REASONS
from stream.process.metric_families import MetricFamilies
from stream.worker.metrics import GroupMetrics

STAGES = ("decode", "forward", "encode", "publish")
"""decode: bytes to labeled impressions; forward: scores and weights; encode: examples to Arrow bytes; publish: until
Kafka has confirmed them."""

_ROWS_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


class ScorerMetrics:
    """What the scorer counts about rows. A row counts when it is confirmed, so a restart may count it again."""

    def __init__(self, registry: CollectorRegistry) -> None:
        families = MetricFamilies(registry, "scorer")
        self.model = ModelMetrics(registry, "scorer")
        self.rows = families.counter("rows_total", "Rows by label", label=("0", "1"))
        self.batches = families.counter("batches_total", "Micro-batches confirmed")
        self.batch_rows = families.histogram("batch_rows", "Rows of a micro-batch", _ROWS_BUCKETS)
        self.stage_seconds = families.histogram(
            "stage_seconds", "Time of a micro-batch in each stage", SECONDS_BUCKETS, stage=STAGES
        )
        self.dead_letters = families.counter("dead_letters_total", "Dead letters written", reason=DEAD_LETTER_REASONS)
        self.group = GroupMetrics(registry, "scorer")
        self.send_failures = families.counter("send_failures_total", "Micro-batches that had to be sent again")
        self.score_failures = families.counter("score_failures_total", "Micro-batches whose scoring failed")
        self.tokens = families.gauge("scored_tokens", "Tokens the live version has scored since the start")
        self.unknown_tokens = families.gauge("unknown_tokens_ratio", "Share of them unknown to the tokenizer")
        self.queue = families.gauge("queue_rows", "Rows read and waiting for the model")
        self.lag = families.gauge("lag_records", "Labeled impressions not yet scored")
        self.label_delay = families.histogram(
            "label_delay_seconds", "From the moment a label is due to its score", DELAY_BUCKETS
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
