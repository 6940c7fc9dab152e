import numpy as np
import pytest

from scorer.importance.running import REMEMBERED_ROWS, BudgetedInclusion, RunningMean


def test_until_the_horizon_it_is_the_plain_mean():
    rows = np.random.default_rng(0).random(1000)
    mean = RunningMean(horizon=1000)
    for part in np.array_split(rows, 7):
        mean.update(part)
    assert mean.value == pytest.approx(rows.mean())


def test_beyond_the_horizon_it_forgets():
    mean = RunningMean(horizon=100)
    mean.update(np.ones(100))
    for _ in range(50):
        mean.update(np.zeros(10))
    assert mean.value == pytest.approx(0.9**50)


def test_the_remembered_rows_rebuild_a_mean_that_has_drifted():
    rows = np.linspace(0.0, 1.0, 20_000) + np.random.default_rng(0).normal(size=20_000)
    whole, rebuilt = RunningMean(), RunningMean()
    for mean, seen in ((whole, rows), (rebuilt, rows[-REMEMBERED_ROWS:])):
        for part in np.array_split(seen, len(seen) // 32):
            mean.update(part)
    assert rebuilt.value == pytest.approx(whole.value, abs=0.05)


def test_no_rows_change_nothing():
    mean = RunningMean()
    mean.update(np.array([]))
    assert (mean.value, mean.count) == (0.0, 0.0)


def test_on_the_first_rows_alone_the_mean_of_pi_is_the_budget_though_rows_are_cut():
    score = np.random.default_rng(0).exponential(size=500) ** 2
    inclusion = BudgetedInclusion(0.5, uniform_share=0.2)
    inclusion.begin(score)
    pi = inclusion.inclusion(score)
    assert (pi == 1).sum() > 50
    assert pi.mean() == pytest.approx(0.5, abs=1e-3)
    assert pi.min() >= 0.5 * 0.2


def test_without_cut_rows_the_normaliser_is_the_running_mean_of_the_score():
    random, inclusion, mean = np.random.default_rng(0), BudgetedInclusion(0.05, uniform_share=0.2), RunningMean()
    for _ in range(300):
        score = random.uniform(1, 2, 16)
        inclusion.begin(score)
        inclusion.follow(inclusion.inclusion(score))
        mean.update(score)
    assert inclusion.normaliser.value == pytest.approx(mean.value)


def test_the_first_rows_are_solved_for_once():
    inclusion = BudgetedInclusion(0.25, uniform_share=0.2)
    inclusion.begin(np.ones(100))
    inclusion.follow(inclusion.inclusion(np.ones(100)))
    inclusion.begin(np.full(100, 9.0))
    assert inclusion.normaliser.value == pytest.approx(1.0)


def test_scores_of_zero_do_not_stop_it():
    inclusion = BudgetedInclusion(0.25, uniform_share=0.2)
    inclusion.begin(np.zeros(10))
    assert np.isfinite(inclusion.inclusion(np.array([0.0, 1.0]))).all()
