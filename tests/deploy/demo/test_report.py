import json
from dataclasses import MISSING, fields, replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from deploy.audit.report import AuditReport
from deploy.demo.report import RunFacts, ScoredRows, summarise, worth_of_retraining, write_report

PROMISED = """
impressions clicks labeled pending scored trained sampled_out waiting dead_lettered duplicates late_clicks
orphaned_clicks conservation_exact updates versions_promoted versions_held swaps ctr
auc_live auc_frozen auc_best_possible
auc_live_before_turn auc_frozen_before_turn auc_best_possible_before_turn
auc_live_late auc_frozen_late auc_best_possible_late
normalized_entropy_live normalized_entropy_frozen calibration_live
worth_auc worth_auc_low worth_auc_high worth_log_loss worth_log_loss_low worth_log_loss_high
worth_rows worth_effective_rows
freshness_p50_seconds freshness_p95_seconds impressions_per_second peak_memory_mib failed_processes
"""
KEYS = PROMISED.split()
COUNTS = KEYS[:12]

# A different number for every term: a summary that mixed two up would show it.
AUDIT = AuditReport(**{term.name: number for number, term in enumerate(fields(AuditReport)) if term.default is MISSING})
FACTS = RunFacts(
    turn_seconds=50.0,
    updates=9,
    versions_promoted=3,
    versions_held=2,
    swaps=3,
    freshness_seconds=np.array([1.0, 2.0, 3.0, 4.0, 105.0]),
    peak_memory_mib=1234.4,
    failed_processes=0,
)


def scored_rows(num_rows: int = 1_000) -> ScoredRows:
    """Rows over 100 seconds; live is good, frozen is good until the turn, every second row has no frozen score."""
    random = np.random.default_rng(7)
    seconds = np.linspace(0.0, 100.0, num_rows)
    truth = random.normal(size=num_rows)
    best = 1 / (1 + np.exp(1 - 2 * truth))
    frozen = np.where(seconds < 50, truth, -truth) + random.normal(size=num_rows)
    frozen[::2] = np.nan
    return ScoredRows(
        seconds=seconds,
        label=(random.uniform(size=num_rows) < best).astype(np.int8),
        live=truth + 0.3 * random.normal(size=num_rows),
        frozen=frozen,
        best=best,
        served=np.full(num_rows, np.nan),
        version=np.array([f"00000000-{1 + row // 250:06d}" for row in range(num_rows)]),
    )


def test_the_summary_has_exactly_the_promised_keys_in_one_flat_object():
    summary = summarise(scored_rows(), AUDIT, FACTS)
    assert list(summary) == KEYS
    assert all(isinstance(value, bool | int | float | None) for value in summary.values())


def test_counts_are_the_audits():
    summary = summarise(scored_rows(), AUDIT, FACTS)
    assert {name: summary[name] for name in COUNTS} == {name: getattr(AUDIT, name) for name in COUNTS}
    assert all(type(summary[name]) is int for name in COUNTS)


def test_conservation_is_exact_only_without_a_problem():
    assert summarise(scored_rows(), AUDIT, FACTS)["conservation_exact"] is True
    lost = replace(AUDIT, problems=("lost by the label join: i2",))
    assert summarise(scored_rows(), lost, FACTS)["conservation_exact"] is False


@pytest.mark.parametrize(("suffix", "first", "end"), [("", 0.0, 101.0), ("_before_turn", 0.0, 50.0)])
def test_every_auc_is_over_the_rows_that_every_role_scored(suffix: str, first: float, end: float):
    rows = scored_rows()
    summary = summarise(rows, AUDIT, FACTS)
    chosen = ~np.isnan(rows.frozen) & (rows.seconds >= first) & (rows.seconds < end)
    for role, score in {"live": rows.live, "frozen": rows.frozen, "best_possible": rows.best}.items():
        expected = roc_auc_score(rows.label[chosen], score[chosen])
        assert summary[f"auc_{role}{suffix}"] == pytest.approx(expected, abs=1e-4)


def test_served_scores_are_summarised_where_rows_carry_them_beside_the_live_ones():
    rows = scored_rows()
    shown = np.arange(1_000) % 3 == 0
    rows = replace(rows, served=np.where(shown, 0.5 * rows.live, np.nan))
    summary = summarise(rows, AUDIT, FACTS)
    expected = roc_auc_score(rows.label[shown], rows.live[shown])
    assert summary["auc_served"] == summary["auc_live_on_served"] == pytest.approx(expected, abs=1e-4)


def test_late_is_the_last_third_of_the_stream():
    rows = scored_rows()
    chosen = ~np.isnan(rows.frozen) & (rows.seconds >= 200 / 3)
    expected = roc_auc_score(rows.label[chosen], rows.frozen[chosen])
    assert summarise(rows, AUDIT, FACTS)["auc_frozen_late"] == pytest.approx(expected, abs=1e-4)


def test_on_a_log_nobody_knows_the_best_possible_or_a_turn():
    rows = replace(scored_rows(), best=np.full(1_000, np.nan))
    summary = summarise(rows, AUDIT, replace(FACTS, turn_seconds=None))
    assert [name for name, value in summary.items() if value is None] == [
        "auc_best_possible",
        "auc_live_before_turn",
        "auc_frozen_before_turn",
        "auc_best_possible_before_turn",
        "auc_best_possible_late",
        *[name for name in KEYS if name.startswith("worth_") and name != "worth_rows"],
    ]


def test_an_auc_of_a_single_class_is_null():
    rows = replace(scored_rows(), label=np.zeros(1_000, dtype=np.int8))
    assert summarise(rows, AUDIT, FACTS)["auc_live"] is None


def test_what_retraining_was_worth_is_live_minus_frozen_on_the_rows_that_both_scored():
    rows = scored_rows(20_000)
    summary = summarise(rows, AUDIT, FACTS)
    assert summary["worth_rows"] == 10_000
    assert summary["worth_auc"] == pytest.approx(summary["auc_live"] - summary["auc_frozen"], abs=0.02)
    assert 0 < summary["worth_auc_low"] < summary["worth_auc"] < summary["worth_auc_high"]
    assert summary["worth_log_loss_high"] < 0
    assert worth_of_retraining(rows).sentence.startswith("retraining is worth +")


def test_freshness_and_speed_are_measured_over_the_stream():
    summary = summarise(scored_rows(), AUDIT, FACTS)
    assert (summary["freshness_p50_seconds"], summary["freshness_p95_seconds"]) == (3.0, 84.8)
    assert summary["impressions_per_second"] == pytest.approx(10.0)


def test_a_stream_without_a_row_has_a_summary_of_nulls(tmp_path: Path):
    rows = scored_rows().take(np.zeros(1_000, dtype=bool))
    facts = replace(FACTS, freshness_seconds=np.array([]))
    summary = summarise(rows, AUDIT, facts)
    write_report(tmp_path, rows, summary, facts.turn_seconds)
    assert summary["ctr"] is None
    assert summary["auc_live"] is None
    assert summary["impressions_per_second"] is None
    assert summary["freshness_p95_seconds"] is None


def test_the_report_is_a_json_object_and_a_png(tmp_path: Path):
    rows = scored_rows()
    summary = summarise(rows, AUDIT, FACTS)
    write_report(tmp_path / "report", rows, summary, FACTS.turn_seconds)
    assert json.loads((tmp_path / "report" / "summary.json").read_text()) == summary
    assert (tmp_path / "report" / "auc.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


def test_the_json_has_no_number_that_json_does_not_know(tmp_path: Path):
    rows = replace(scored_rows(), best=np.full(1_000, np.nan))
    write_report(tmp_path, rows, summarise(rows, AUDIT, FACTS), None)
    assert "NaN" not in (tmp_path / "summary.json").read_text()
