"""Metrics of the scorer, and of every process that serves a live model."""

from collections.abc import Sequence

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from scorer.importance.effective_sample_size import REASONS as FALLBACK_REASONS
from scorer.importance.effective_sample_size import WatchedStrategy
from scorer.importance.factors import FactoredStrategy
from scorer.importance.strategy import Strategy
from scorer.live.model_slot import SWAP_RESULTS
from scorer.registry.version_store import parse_version
from scorer.scoring.micro_batch import MicroBatch
from stream.dead_letters import REASONS
from stream.events import WeightedExample
from stream.join.metrics import GroupMetrics

STAGES = ("decode", "forward", "encode", "publish")
"""decode: bytes to labeled impressions; forward: scores and weights; encode: examples to Arrow bytes; publish: until
Kafka has confirmed them."""

UNDEFINED = "undefined"
"""Reason of a fallback that the strategy itself decided: it is not defined where the stream is now."""

_SECONDS_BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
_DELAY_BUCKETS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 60.0, 300.0, 1800.0)
_ROWS_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
_SHARE_BUCKETS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
_WEIGHT_BUCKETS = (0.1, 0.2, 0.5, 0.8, 1.0, 1.25, 2.0, 5.0, 10.0)


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
            buckets=_SECONDS_BUCKETS,
            registry=registry,
        )
        for step in ("prepare", "switch"):
            self.swap_seconds.labels(step)
        self.release_delay = Histogram(
            f"millstream_{process}_release_delay_seconds",
            "From the announcement of a release until it serves here",
            buckets=_DELAY_BUCKETS,
            registry=registry,
        )

    def show_version(self, version: str) -> None:
        """Show which version is live, by its number: a label per version would never stop growing."""
        self.model_number.set(parse_version(version)[1])


class ImportanceMetrics:
    """What the scorer shows about how much its rows teach."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.inclusion = Histogram(
            "millstream_scorer_inclusion_probability_ratio",
            "Probability that a row is learned",
            buckets=_SHARE_BUCKETS,
            registry=registry,
        )
        self.weight = Histogram(
            "millstream_scorer_importance_weight_ratio",
            "Weight of a row in the loss if it is learned",
            buckets=_WEIGHT_BUCKETS,
            registry=registry,
        )
        self.effective_sample_size = _gauge(
            registry,
            "effective_sample_size_ratio",
            "Effective sample size of the weights of learned rows, as a share of those rows, last micro-batch",
        )
        self.fallbacks = Counter(
            "millstream_scorer_fallback_rows_total",
            "Rows that uniform weighed instead: too small an effective sample, selection cannot pay, or not defined",
            ["reason"],
            registry=registry,
        )
        for reason in (*FALLBACK_REASONS, UNDEFINED):
            self.fallbacks.labels(reason)
        self.variance_ratio = _gauge(
            registry,
            "variance_ratio",
            "Variance of uniform sampling over that of sampling by the strategy's score; NaN for one that has none",
        )
        self.variance_ratio.set(float("nan"))

    def count(self, examples: Sequence[WeightedExample], strategy: Strategy) -> None:
        """Count the examples of a confirmed micro-batch.

        Args:
            examples: At least one.
            strategy: What weighed them, in the state in which that left it.
        """
        for example in examples:
            self.inclusion.observe(example.inclusion_probability)
            self.weight.observe(example.importance_weight)
        self.effective_sample_size.set(_effective_share(examples))
        watched = strategy.strategy if isinstance(strategy, FactoredStrategy) else strategy
        reason = watched.reason if isinstance(watched, WatchedStrategy) else UNDEFINED
        if num_replaced := sum(example.strategy != strategy.name for example in examples):
            self.fallbacks.labels(reason).inc(num_replaced)
        if isinstance(watched, WatchedStrategy) and watched.variance_ratio is not None:
            self.variance_ratio.set(watched.variance_ratio)


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
            buckets=_SECONDS_BUCKETS,
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
            buckets=_DELAY_BUCKETS,
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


def _effective_share(examples: Sequence[WeightedExample]) -> float:
    """Return Kish's effective sample size over the expected learned rows, 1 when all weights are equal.

    A row is learned with probability pi, so sums over learned rows are sums over all rows times pi. NaN when nothing is
    learned.
    """
    pi_N = np.array([example.inclusion_probability for example in examples])
    w_N = np.array([example.importance_weight for example in examples])
    squares = float((pi_N * w_N**2).sum()) * float(pi_N.sum())
    return float((pi_N * w_N).sum()) ** 2 / squares if squares else float("nan")


def _counter(registry: CollectorRegistry, name: str, documentation: str) -> Counter:
    return Counter(f"millstream_scorer_{name}", documentation, registry=registry)


def _gauge(registry: CollectorRegistry, name: str, documentation: str) -> Gauge:
    return Gauge(f"millstream_scorer_{name}", documentation, registry=registry)
