"""Metrics of how the scorer's rows are weighed."""

from collections.abc import Sequence

import numpy as np
from prometheus_client import CollectorRegistry

from scorer.importance.effective_sample_size import FALLBACK_REASONS, WatchedStrategy
from scorer.importance.factors import FactoredStrategy
from scorer.importance.strategy import Strategy
from stream.events import WeightedExample
from stream.process.metric_families import MetricFamilies

UNDEFINED = "undefined"
"""Reason of a fallback that the strategy itself decided: it is not defined where the stream is now."""

_SHARE_BUCKETS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
_WEIGHT_BUCKETS = (0.1, 0.2, 0.5, 0.8, 1.0, 1.25, 2.0, 5.0, 10.0)


class ImportanceMetrics:
    """What the scorer shows about how much its rows teach."""

    def __init__(self, registry: CollectorRegistry) -> None:
        families = MetricFamilies(registry, "scorer")
        self.inclusion = families.histogram(
            "inclusion_probability_ratio", "Probability that a row is learned", _SHARE_BUCKETS
        )
        self.weight = families.histogram(
            "importance_weight_ratio", "Weight of a row in the loss if it is learned", _WEIGHT_BUCKETS
        )
        self.effective_sample_size = families.gauge(
            "effective_sample_size_ratio",
            "Effective sample size of the weights of learned rows, as a share of those rows, last micro-batch",
        )
        self.fallbacks = families.counter(
            "fallback_rows_total",
            "Rows that uniform weighed instead: too small an effective sample, selection cannot pay, or not defined",
            reason=(*FALLBACK_REASONS, UNDEFINED),
        )
        self.variance_ratio = families.gauge(
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


def _effective_share(examples: Sequence[WeightedExample]) -> float:
    """Return Kish's effective sample size over the expected learned rows, 1 when all weights are equal.

    A row is learned with probability pi, so sums over learned rows are sums over all rows times pi. NaN when nothing is
    learned.
    """
    pi_N = np.array([example.inclusion_probability for example in examples])
    w_N = np.array([example.importance_weight for example in examples])
    squares = float((pi_N * w_N**2).sum()) * float(pi_N.sum())
    return float((pi_N * w_N).sum()) ** 2 / squares if squares else float("nan")
