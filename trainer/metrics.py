"""Metrics of the trainer."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from time import perf_counter

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from scorer.importance.effective_sample_size import effective_sample_size
from scorer.importance.stability import Stability
from stream.events import GateResult
from trainer.line import LearnReport
from trainer.promotion.commands import ACTIONS
from trainer.promotion.gate import HOLD_REASONS
from trainer.state.ledger_segments import OUTCOMES

DECISIONS = ("promote", "hold", "wait", "stopped")
"""wait: too little evidence yet; stopped: promotions are stopped after a rollback."""

STAGES = ("featurize", "judge", "publish", "learn", "checkpoint", "probe")

_SECONDS_BUCKETS = (0.01, 0.03, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 120.0)


class ProbeMetrics:
    """What the trainer shows about a fixed probe of rows."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.spearman = Gauge(
            "millstream_trainer_probe_spearman_ratio",
            "Rank correlation of the probe's importance scores with those before, among clicked rows and the others",
            ["class"],
            registry=registry,
        )
        self.top_overlap = Gauge(
            "millstream_trainer_probe_top_overlap_ratio",
            "Share of the probe's most important tenth that was so before",
            registry=registry,
        )
        self.total_variation = Gauge(
            "millstream_trainer_probe_total_variation_ratio",
            "Share of the probe's importance that moved to other rows",
            registry=registry,
        )
        self.show(None)

    def show(self, found: Stability | None) -> None:
        """Show how stable the importance scores of the probe are; NaN where that is not known."""
        self.spearman.labels("clicked").set(found.spearman_clicked if found else math.nan)
        self.spearman.labels("not_clicked").set(found.spearman_not_clicked if found else math.nan)
        self.top_overlap.set(found.top_overlap if found else math.nan)
        self.total_variation.set(found.total_variation if found else math.nan)


class GateMetrics:
    """What the trainer counts about which updates serve."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.decisions = _counters(
            registry, "gate_decisions_total", "Decisions of the gate, one an update", "decision", DECISIONS
        )
        self.holds = _counters(registry, "holds_total", "Updates held, by reason", "reason", HOLD_REASONS)
        self.holds_in_row = _gauge(registry, "holds_in_row_count", "Holds since the last promotion")
        self.detectable_harm = _gauge(
            registry,
            "gate_detectable_auc_harm_ratio",
            "Smallest loss of AUC that the last judgement by AUC would have held with a probability of 80 %",
        )
        self.detectable_harm.set(math.nan)
        self.promotions = _counter(registry, "promotions_total", "Versions promoted")
        self.promoted_number = _gauge(registry, "promoted_number", "Number of the champion within its model line")
        self.discarded_rows = _counter(
            registry, "discarded_rows_total", "Learned rows undone by going back to an older version"
        )
        self.promotions_stopped = _gauge(
            registry, "promotions_stopped_bool", "1 while promotions are stopped after a rollback"
        )

    def count_decision(self, result: GateResult | None, *, stopped: bool) -> None:
        """Count what the gate said of an update."""
        decision = "stopped" if stopped else result.decision if result else "wait"
        self.decisions.labels(decision).inc()
        if result and result.decision == "hold":
            self.holds.labels(result.reason).inc()
        if result and isinstance(result.auc_detectable_harm, float):
            self.detectable_harm.set(result.auc_detectable_harm)


class TrainerMetrics:
    """What the trainer counts. Counters begin at 0 with the process; the ledger is the durable account."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.rows = _counters(registry, "rows_total", "Rows settled, by outcome", "outcome", OUTCOMES)
        self.updates = _counter(registry, "updates_total", "Updates learned")
        self.refused_updates = _counter(
            registry, "refused_updates_total", "Updates that failed and were settled without learning their rows"
        )
        self.steps = _counter(registry, "steps_total", "Optimizer steps taken")
        self.loss = _gauge(registry, "loss_nats", "Mean weighted loss of the last update")
        self.nonfinite = _counters(
            registry,
            "nonfinite_total",
            "Refused before the optimizer: single rows, losses and gradients of batches",
            "where",
            ("row", "loss", "gradient"),
        )
        self.mean_weight = _gauge(
            registry, "importance_weight_mean_ratio", "Mean importance weight of the rows of the last update"
        )
        self.effective_sample_size = _gauge(
            registry, "effective_sample_size_ratio", "Effective sample size of the last update by the rows it learned"
        )
        self.probe = ProbeMetrics(registry)
        self.gate = GateMetrics(registry)
        self.update_seconds = Histogram(
            "millstream_trainer_update_seconds",
            "Time of each stage of an update",
            ["stage"],
            buckets=_SECONDS_BUCKETS,
            registry=registry,
        )
        for stage in STAGES:
            self.update_seconds.labels(stage)
        self.checkpoint_bytes = _gauge(registry, "checkpoint_size_bytes", "Size of the last checkpoint")
        self.checkpoint_time = _gauge(
            registry, "checkpoint_last_success_timestamp_seconds", "When the last checkpoint was written"
        )
        self.state_free_bytes = _gauge(registry, "state_free_bytes", "Free on the file system of the state directory")
        self.lag = Gauge(
            "millstream_trainer_lag_records",
            "Records of weighted-examples not yet learned",
            ["partition"],
            registry=registry,
        )
        self.paused = _gauge(registry, "paused_bool", "1 while learning is paused")
        self.commands = _counters(registry, "commands_total", "Commands carried out or refused", "action", ACTIONS)
        self.gone_records = _gauge(
            registry, "gone_records", "Records skipped in the life of the line because retention had deleted them"
        )
        self.unusable_commands = _counter(
            registry, "unusable_commands_total", "Records of trainer-commands that are neither command nor answer"
        )
        self.unreadable_records = _counters(
            registry,
            "unreadable_records_total",
            "Records that could not be decoded, now dead letters",
            "reason",
            ("malformed", "unknown_version"),
        )

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measure a stage of an update."""
        started = perf_counter()
        yield
        self.update_seconds.labels(name).observe(perf_counter() - started)

    def count_learning(self, report: LearnReport) -> None:
        """Count what an update did."""
        self.updates.inc()
        self.steps.inc(report.update.num_steps)
        self.nonfinite.labels("row").inc(report.num_unusable)
        self.nonfinite.labels("loss").inc(report.update.num_refused_losses)
        self.nonfinite.labels("gradient").inc(report.update.num_refused_gradients)
        for row in report.ledger:
            self.rows.labels(row.outcome).inc()
        if report.weights:
            self.loss.set(report.update.mean_loss)
            self.mean_weight.set(sum(report.weights) / len(report.weights))
            self.effective_sample_size.set(effective_sample_size(np.array(report.weights)) / len(report.weights))

    def show_lag(self, ends: Mapping[int, int], offsets: Mapping[int, int]) -> None:
        """Show how far behind the log the checkpoint is."""
        for partition, end in ends.items():
            self.lag.labels(str(partition)).set(end - offsets[partition])


def _counter(registry: CollectorRegistry, name: str, documentation: str) -> Counter:
    return Counter(f"millstream_trainer_{name}", documentation, registry=registry)


def _counters(registry: CollectorRegistry, name: str, documentation: str, label: str, values: Sequence[str]) -> Counter:
    counter = Counter(f"millstream_trainer_{name}", documentation, [label], registry=registry)
    for value in values:
        counter.labels(value)
    return counter


def _gauge(registry: CollectorRegistry, name: str, documentation: str) -> Gauge:
    return Gauge(f"millstream_trainer_{name}", documentation, registry=registry)
