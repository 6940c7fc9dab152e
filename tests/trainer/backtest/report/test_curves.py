import numpy as np
import pytest

from scorer.measures.auc import auc
from scorer.measures.log_loss import calibration, normalized_entropy
from tests.trainer.backtest.tiny import made_round, made_run
from trainer.backtest.report.curves import (
    MAX_BINS,
    round_curve,
    score_curve,
)
from trainer.backtest.runs.results import Run


def test_a_point_is_the_metric_over_its_bin_averaged_over_seeds():
    runs = [made_run(seed=seed, num_rows=2_048) for seed in range(2)]
    curve = score_curve(runs, "z_live", auc)
    assert curve.row.tolist() == [1_512, 2_536]
    parts = [run.predictions.take(slice(0, 1_024)) for run in runs]
    assert curve.value[0] == pytest.approx(np.mean([auc(part.z_live, part.label) for part in parts]))


def test_a_long_stream_has_a_bounded_number_of_points():
    assert len(score_curve([made_run(num_rows=100_000)], "z_live", normalized_entropy).row) == MAX_BINS


def test_what_nobody_knows_is_an_empty_curve():
    assert np.isnan(score_curve([made_run()], "click_probability", auc).value).all()
    assert not np.isnan(score_curve([made_run(limit=True)], "click_probability", auc).value).all()


def test_the_other_metrics_are_near_one_for_a_fair_score():
    run = made_run(skill=0.0, num_rows=2_048)
    for metric in (normalized_entropy, calibration):
        assert score_curve([run], "z_frozen", metric).value == pytest.approx(1.0, abs=0.5)


def test_a_value_of_rounds_is_their_mean_in_the_bin_without_those_that_have_none():
    whole = made_run(num_rows=2_048)
    values = [0.2, None, 0.4, 0.6]
    rounds = [made_round(first_row=1_000 + 512 * k, stability_spearman=value) for k, value in enumerate(values)]
    curve = round_curve([Run("arm", 0, rounds, whole.predictions)], lambda one: one.stability_spearman)
    assert curve.value == pytest.approx([0.2, 0.5])
