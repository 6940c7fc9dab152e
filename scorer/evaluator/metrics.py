"""Metrics of the evaluator. A measure that is not known is not shown: no sample rather than a wrong one.

Roles live, frozen and control score a row when its label is due and are compared on the rows that all of them scored;
role served is the score the row was shown with, on the rows that carry one.
"""

import math
from collections.abc import Iterator, Mapping

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from scorer.evaluator.drift import SIGNALS
from scorer.evaluator.score_window import Quality
from scorer.evaluator.state import COPIES, Evaluation, RecordReport
from scorer.measures.auc import Interval
from scorer.measures.worth import Worth
from stream.process.metric_families import MetricFamilies

QUALITIES = {
    "auc": (
        "auc_ratio",
        "AUC on the rows that every role scored; of role served, on the rows that carry the score they were shown with",
    ),
    "auc_low": ("auc_low_ratio", "Lower end of its 95 % confidence interval"),
    "auc_high": ("auc_high_ratio", "Upper end of its 95 % confidence interval"),
    "auc_within_query": ("within_query_auc_ratio", "The same AUC over pairs of rows of one query"),
    "log_loss": ("log_loss_nats", "Mean log loss on the same rows as the AUC"),
    "normalized_entropy": ("normalized_entropy_ratio", "Log loss over the entropy of the click rate"),
    "calibration": ("calibration_ratio", "Mean score over click rate"),
}
"""Field of `Quality`: name and help of its gauge, labelled by role."""

QUANTILES = {0.5: "p50", 0.95: "p95", 0.99: "p99"}

_FRESHNESS_BUCKETS = (0.5, 1.0, 2.0, 3.0, 5.0, 7.5, 10.0, 15.0, 20.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0)


class EvaluationGauges(Collector):
    """Shows the last evaluation; a gauge without a value is left out of the page."""

    def __init__(self) -> None:
        self._evaluation: Evaluation | None = None

    def show(self, evaluation: Evaluation) -> None:
        """Show this evaluation from now on."""
        self._evaluation = evaluation

    def describe(self) -> Iterator[Metric]:
        """Describe nothing: the registry must not ask for samples before there are any."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Yield the gauges that have a value."""
        evaluation = self._evaluation
        if evaluation is None:
            return
        window = evaluation.window
        for field, (name, documentation) in QUALITIES.items():
            by_role: dict[str, float] = {role: getattr(quality, field) for role, quality in window.roles.items()}
            yield from _gauge(name, documentation, by_role, "role")
        for name, documentation, value in (
            ("all_rows_auc_ratio", "AUC of the live role on all rows", _auc(window.live_on_all)),
            ("served_rows_auc_ratio", "AUC of the live role on the rows of role served", _auc(window.live_on_served)),
            ("ctr_ratio", "Clicks per impression in the window", window.click_rate),
            ("window_rows", "Rows in the window", window.num_rows),
            ("common_rows", "Rows of the window that live, frozen and control scored", window.num_common),
            ("served_rows", "Rows of the window with the score they were shown with", window.num_served),
            ("distinct_rows", "First copies judged, restarts included", evaluation.num_distinct),
            ("waiting_rows", "Rows that no serving version has learned from", evaluation.num_waiting),
        ):
            yield from _gauge(name, documentation, {"": value})
        for quantile, name in QUANTILES.items():
            seconds = evaluation.freshness.get(quantile, math.nan)
            yield from _gauge(f"freshness_{name}_seconds", f"Quantile {quantile:g} of freshness", {"": seconds})
        since = {"loss": evaluation.mean_loss, "rate": evaluation.mean_rate}
        yield from _gauge("since_drift_mean", "Mean of the signal since its last drift", since, "signal")
        yield from _worth_gauges(evaluation.worth)


class EvaluatorMetrics:
    """What the evaluator counts since it started."""

    def __init__(self, registry: CollectorRegistry) -> None:
        families = MetricFamilies(registry, "evaluator")
        self.rows = families.counter("rows_total", "Rows by copy", copy=COPIES)
        self.drifts = families.counter("drifts_total", "Drifts by signal (ADWIN)", signal=SIGNALS)
        self.unusable_records = families.counter("unusable_records_total", "Records that are no weighted examples")
        self.unusable_releases = families.counter(
            "unusable_releases_total", "Records of model-releases that are no release"
        )
        self.freshness = families.histogram(
            "freshness_seconds",
            "From the moment a label is due until a version that considered it first scores",
            _FRESHNESS_BUCKETS,
        )
        self.lag = families.gauge("lag_records", "Records not yet read")
        self.gone_records = families.counter(
            "gone_records_total", "Records that retention deleted before they were read"
        )
        self.state_free_bytes = families.gauge("state_free_bytes", "Free on the file system of the snapshot")
        self.snapshot_seconds = families.histogram("snapshot_seconds", "Time to write a snapshot")
        self.gauges = EvaluationGauges()
        registry.register(self.gauges)

    def count(self, report: RecordReport) -> None:
        """Count what a record brought."""
        for copy, number in report.copies.items():
            self.rows.labels(copy).inc(number)
        for signal, number in report.drifts.items():
            self.drifts.labels(signal).inc(number)
        for seconds in report.freshness:
            self.freshness.observe(seconds)


def _worth_gauges(worth: Mapping[str, Worth]) -> Iterator[Metric]:
    """Yield what retraining is worth, by the rows that it is over."""
    for measure, unit, what in (("auc", "ratio", "AUC"), ("log_loss", "nats", "Mean log loss")):
        for bound, suffix, end in (("estimate", "", ""), ("low", "_low", "lower"), ("high", "_high", "upper")):
            found: dict[str, Interval | None] = {rows: getattr(one, measure) for rows, one in worth.items()}
            values = {rows: getattr(one, bound) for rows, one in found.items() if one is not None}
            documentation = (
                f"{end.capitalize()} end of its 95 % confidence interval"
                if end
                else f"{what} of live minus frozen on the rows that both scored"
            )
            yield from _gauge(f"worth_{measure}{suffix}_{unit}", documentation, values, "rows")
    for name, documentation, counted in (
        ("worth_rows", "Rows that live and frozen are compared on", {k: float(v.num_rows) for k, v in worth.items()}),
        (
            "worth_effective_rows",
            "Independent rows that would tell the difference of log loss as well",
            {k: v.effective_rows for k, v in worth.items()},
        ),
    ):
        yield from _gauge(name, documentation, counted, "rows")


def _auc(quality: Quality | None) -> float:
    return quality.auc if quality else math.nan


def _gauge(name: str, documentation: str, values: Mapping[str, float], label: str = "") -> Iterator[Metric]:
    known = {key: value for key, value in values.items() if not math.isnan(value)}
    if not known:
        return
    family = GaugeMetricFamily(f"millstream_evaluator_{name}", documentation, labels=[label] if label else [])
    for key, value in known.items():
        family.add_metric([key] if label else [], value)
    yield family
