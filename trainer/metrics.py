"""Metrics of the trainer."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from time import perf_counter

import numpy as np
from prometheus_client import CollectorRegistry

from scorer.importance.effective_sample_size import effective_sample_size
from scorer.importance.stability import Stability
from stream.events import GateResult
from stream.process.metric_families import MetricFamilies
from trainer.line import LearnReport
from trainer.promotion.commands import ACTIONS
from trainer.promotion.gate import HOLD_REASONS
from trainer.promotion.ladder import STEPS
from trainer.state.ledger_segments import OUTCOMES

DECISIONS = ("promote", "hold", "wait", "stopped")
"""wait: too little evidence yet; stopped: promotions are stopped after a rollback."""

STAGES = ("featurize", "judge", "publish", "learn", "checkpoint", "probe")

_SECONDS_BUCKETS = (0.01, 0.03, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 120.0)


class ProbeMetrics:
    """What the trainer shows about a fixed probe of rows."""

    def __init__(self, registry: CollectorRegistry) -> None:
        families = MetricFamilies(registry, "trainer")
        self.spearman = families.gauge(
            "probe_spearman_ratio",
            "Rank correlation of the probe's importance scores with those before, among clicked rows and the others",
            **{"class": ("clicked", "not_clicked")},
        )
        self.top_overlap = families.gauge(
            "probe_top_overlap_ratio", "Share of the probe's most important tenth that was so before"
        )
        self.total_variation = families.gauge(
            "probe_total_variation_ratio", "Share of the probe's importance that moved to other rows"
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
        families = MetricFamilies(registry, "trainer")
        self.decisions = families.counter(
            "gate_decisions_total", "Decisions of the gate, one an update", decision=DECISIONS
        )
        self.holds = families.counter("holds_total", "Updates held, by reason", reason=HOLD_REASONS)
        self.holds_in_row = families.gauge("holds_in_row_count", "Holds since the last promotion")
        self.detectable_harm = families.gauge(
            "gate_detectable_auc_harm_ratio",
            "Smallest loss of AUC that the last judgement by AUC would have held with a probability of 80 %",
        )
        self.detectable_harm.set(math.nan)
        self.ladder_share = families.gauge(
            "ladder_share_ratio",
            "Part of each step of the ladder in what would serve next",
            step=STEPS,
        )
        self.promotions = families.counter("promotions_total", "Versions promoted")
        self.promoted_number = families.gauge("promoted_number", "Number of the champion within its model line")
        self.discarded_rows = families.counter(
            "discarded_rows_total", "Learned rows undone by going back to an older version"
        )
        self.promotions_stopped = families.gauge(
            "promotions_stopped_bool", "1 while promotions are stopped after a rollback"
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
        families = MetricFamilies(registry, "trainer")
        self.rows = families.counter("rows_total", "Rows settled, by outcome", outcome=OUTCOMES)
        self.updates = families.counter("updates_total", "Updates learned")
        self.refused_updates = families.counter(
            "refused_updates_total", "Updates that failed and were settled without learning their rows"
        )
        self.steps = families.counter("steps_total", "Optimizer steps taken")
        self.loss = families.gauge("loss_nats", "Mean weighted loss of the last update")
        self.nonfinite = families.counter(
            "nonfinite_total",
            "Refused before the optimizer: single rows, losses and gradients of batches",
            where=("row", "loss", "gradient"),
        )
        self.mean_weight = families.gauge(
            "importance_weight_mean_ratio", "Mean importance weight of the rows of the last update"
        )
        self.effective_sample_size = families.gauge(
            "effective_sample_size_ratio", "Effective sample size of the last update by the rows it learned"
        )
        self.probe = ProbeMetrics(registry)
        self.gate = GateMetrics(registry)
        self.update_seconds = families.histogram(
            "update_seconds", "Time of each stage of an update", _SECONDS_BUCKETS, stage=STAGES
        )
        self.checkpoint_bytes = families.gauge("checkpoint_size_bytes", "Size of the last checkpoint")
        self.checkpoint_time = families.gauge(
            "checkpoint_last_success_timestamp_seconds", "When the last checkpoint was written"
        )
        self.state_free_bytes = families.gauge("state_free_bytes", "Free on the file system of the state directory")
        self.lag = families.gauge("lag_records", "Records of weighted-examples not yet learned", partition=())
        self.paused = families.gauge("paused_bool", "1 while learning is paused")
        self.commands = families.counter("commands_total", "Commands carried out or refused", action=ACTIONS)
        self.gone_records = families.gauge(
            "gone_records", "Records skipped in the life of the line because retention had deleted them"
        )
        self.unusable_commands = families.counter(
            "unusable_commands_total", "Records of trainer-commands that are neither command nor answer"
        )
        self.unreadable_records = families.counter(
            "unreadable_records_total",
            "Records that could not be decoded, now dead letters",
            reason=("malformed", "unknown_version"),
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
