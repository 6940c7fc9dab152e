import math

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from scorer.importance.stability import Stability
from stream.events import GateResult
from trainer.metrics import DECISIONS, STAGES, GateMetrics, TrainerMetrics


@pytest.fixture
def registry():
    return CollectorRegistry()


def test_counters_with_fixed_labels_begin_at_zero(registry):
    TrainerMetrics(registry)
    for decision in DECISIONS:
        assert registry.get_sample_value("millstream_trainer_gate_decisions_total", {"decision": decision}) == 0
    assert registry.get_sample_value("millstream_trainer_rows_total", {"outcome": "trained"}) == 0


def test_every_name_begins_with_the_process(registry):
    TrainerMetrics(registry)
    names = [line.split()[2] for line in generate_latest(registry).decode().splitlines() if line.startswith("# TYPE")]
    assert names
    assert all(name.startswith("millstream_trainer_") for name in names)


def test_a_stage_is_measured(registry):
    metrics = TrainerMetrics(registry)
    for stage in STAGES:
        with metrics.stage(stage):
            pass
        assert registry.get_sample_value("millstream_trainer_update_seconds_count", {"stage": stage}) == 1


@pytest.mark.parametrize(
    ("result", "stopped", "decision"),
    [
        (None, False, "wait"),
        (None, True, "stopped"),
        (GateResult(decision="promote", reason="no_harm"), False, "promote"),
        (GateResult(decision="hold", reason="auc_harm"), False, "hold"),
    ],
)
def test_every_update_counts_one_decision(registry, result, stopped, decision):
    TrainerMetrics(registry).gate.count_decision(result, stopped=stopped)
    assert registry.get_sample_value("millstream_trainer_gate_decisions_total", {"decision": decision}) == 1


def test_the_lag_is_shown_by_partition(registry):
    TrainerMetrics(registry).show_lag({0: 10, 1: 5}, {0: 4, 1: 5})
    assert registry.get_sample_value("millstream_trainer_lag_records", {"partition": "0"}) == 6


def test_stability_is_not_a_number_until_it_is_known(registry):
    metrics = TrainerMetrics(registry)
    names = ("spearman_ratio", "top_overlap_ratio", "total_variation_ratio")
    labels = ({"class": "clicked"}, {}, {})

    def shown():
        return [
            registry.get_sample_value(f"millstream_trainer_probe_{name}", label)
            for name, label in zip(names, labels, strict=True)
        ]

    assert all(math.isnan(value) for value in shown())
    metrics.probe.show(Stability(0.9, 0.8, 0.7, 0.6, 0.1))
    assert shown() == [0.8, 0.6, 0.1]


def test_the_power_of_the_last_judgement_by_auc_is_shown():
    gate = GateMetrics(CollectorRegistry())
    assert math.isnan(gate.detectable_harm._value.get())
    gate.count_decision(GateResult(decision="promote", reason="no_harm", auc_detectable_harm=0.04), stopped=False)
    gate.count_decision(GateResult(decision="hold", reason="log_loss_harm"), stopped=False)
    assert gate.detectable_harm._value.get() == 0.04
