import math
from dataclasses import replace

import pytest
from prometheus_client import CollectorRegistry

from scorer.evaluator.metrics import EvaluatorMetrics
from scorer.evaluator.score_window import Quality, WindowQuality
from scorer.evaluator.state import Evaluation, RecordReport
from scorer.measures.auc import Interval
from scorer.measures.worth import Worth

WORTH = Worth(
    num_rows=9_216,
    num_spans=18,
    effective_rows=4_000.0,
    auc=Interval(0.03, 0.02, 0.04),
    log_loss=Interval(-0.01, -0.02, 0.0),
)


@pytest.fixture
def shown() -> CollectorRegistry:
    return CollectorRegistry()


def evaluation(*, within_query: float = float("nan"), freshness: dict[float, float] | None = None) -> Evaluation:
    quality = Quality(
        auc=0.7,
        auc_low=0.6,
        auc_high=0.8,
        auc_within_query=within_query,
        log_loss=0.4,
        normalized_entropy=0.9,
        calibration=1.1,
    )
    window = WindowQuality(
        num_rows=500,
        num_common=100,
        num_served=300,
        click_rate=0.15,
        roles={"live": quality, "served": replace(quality, auc=0.68)},
        live_on_all=quality,
        live_on_served=replace(quality, auc=0.71),
    )
    return Evaluation(
        window=window,
        num_distinct=900,
        freshness=freshness or {},
        num_waiting=4,
        mean_loss=0.4,
        mean_rate=0.15,
        worth={"all": WORTH, "recent": replace(WORTH, num_rows=512, effective_rows=math.nan, auc=None, log_loss=None)},
    )


def value(shown: CollectorRegistry, name: str, **labels: str) -> float | None:
    return shown.get_sample_value(f"millstream_evaluator_{name}", labels)


def test_before_the_first_evaluation_no_quality_is_shown(shown: CollectorRegistry) -> None:
    EvaluatorMetrics(shown)
    assert value(shown, "auc_ratio", role="live") is None
    assert value(shown, "ctr_ratio") is None


def test_an_evaluation_is_shown_by_role(shown: CollectorRegistry) -> None:
    EvaluatorMetrics(shown).gauges.show(evaluation(freshness={0.5: 4.0, 0.95: 9.0}))
    assert value(shown, "auc_ratio", role="live") == 0.7
    assert value(shown, "auc_low_ratio", role="live") == 0.6
    assert value(shown, "calibration_ratio", role="live") == 1.1
    assert value(shown, "all_rows_auc_ratio") == 0.7
    assert value(shown, "ctr_ratio") == 0.15
    assert value(shown, "freshness_p95_seconds") == 9.0


def test_the_score_a_row_was_shown_with_stands_beside_the_live_one_on_the_same_rows(shown: CollectorRegistry) -> None:
    EvaluatorMetrics(shown).gauges.show(evaluation())
    assert value(shown, "auc_ratio", role="served") == 0.68
    assert value(shown, "served_rows_auc_ratio") == 0.71
    assert value(shown, "served_rows") == 300


def test_what_retraining_is_worth_is_shown_with_its_interval_once_there_is_one(shown: CollectorRegistry) -> None:
    EvaluatorMetrics(shown).gauges.show(evaluation())
    assert [value(shown, f"worth_auc{end}_ratio", rows="all") for end in ("", "_low", "_high")] == [0.03, 0.02, 0.04]
    assert [value(shown, f"worth_log_loss{end}_nats", rows="all") for end in ("", "_low", "_high")] == [-0.01, -0.02, 0]
    assert value(shown, "worth_auc_ratio", rows="recent") is None
    assert (value(shown, "worth_rows", rows="all"), value(shown, "worth_rows", rows="recent")) == (9_216, 512)
    assert value(shown, "worth_effective_rows", rows="all") == 4_000
    assert value(shown, "worth_effective_rows", rows="recent") is None


def test_a_measure_that_is_undefined_is_left_out(shown: CollectorRegistry) -> None:
    EvaluatorMetrics(shown).gauges.show(evaluation())
    assert value(shown, "within_query_auc_ratio", role="live") is None
    assert value(shown, "freshness_p95_seconds") is None
    assert value(shown, "auc_ratio", role="frozen") is None


def test_a_record_is_counted(shown: CollectorRegistry) -> None:
    report = RecordReport(copies={"new": 3, "repeat": 2, "late": 0}, drifts={"loss": 1, "rate": 0}, freshness=[2.0])
    EvaluatorMetrics(shown).count(report)
    assert value(shown, "rows_total", copy="new") == 3
    assert value(shown, "rows_total", copy="repeat") == 2
    assert value(shown, "drifts_total", signal="loss") == 1
    assert value(shown, "freshness_seconds_sum") == 2.0
