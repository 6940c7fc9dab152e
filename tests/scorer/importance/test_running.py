import numpy as np
import pytest

from scorer.importance.gradient_norm import GradientNormSampling
from scorer.importance.running import REMEMBERED_ROWS, UNIFORM_SHARE, BudgetedInclusion, RunningMean, VarianceRatio
from scorer.importance.seed_sigmoid import SeedSigmoid
from scorer.importance.strategy import ScoredRows

RANDOM = np.random.default_rng(0)


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
    inclusion = BudgetedInclusion(0.5)
    inclusion.begin(score)
    pi = inclusion.inclusion(score)
    assert (pi == 1).sum() > 50
    assert pi.mean() == pytest.approx(0.5, abs=1e-3)
    assert pi.min() >= 0.5 * UNIFORM_SHARE


def test_without_cut_rows_the_normaliser_is_the_running_mean_of_the_score():
    random, inclusion, mean = np.random.default_rng(0), BudgetedInclusion(0.05), RunningMean()
    for _ in range(300):
        score = random.uniform(1, 2, 16)
        inclusion.begin(score)
        inclusion.follow(inclusion.inclusion(score))
        mean.update(score)
    assert inclusion.normaliser.value == pytest.approx(mean.value)


def test_the_first_rows_are_solved_for_once():
    inclusion = BudgetedInclusion(0.25)
    inclusion.begin(np.ones(100))
    inclusion.follow(inclusion.inclusion(np.ones(100)))
    inclusion.begin(np.full(100, 9.0))
    assert inclusion.normaliser.value == pytest.approx(1.0)


def test_scores_of_zero_do_not_stop_it():
    inclusion = BudgetedInclusion(0.25)
    inclusion.begin(np.zeros(10))
    assert np.isfinite(inclusion.inclusion(np.array([0.0, 1.0]))).all()


def ratio_of(score):
    ratio = VarianceRatio()
    ratio.update(score)
    return ratio.value


def test_equal_scores_have_ratio_one():
    assert ratio_of(np.full(100, 3.0)) == pytest.approx(1.0)


@pytest.mark.parametrize("click_rate", [0.01, 0.1, 0.5])
def test_a_flat_click_rate_gives_its_closed_form(click_rate):
    clicked = np.arange(1000) < 1000 * click_rate
    assert ratio_of(np.where(clicked, 1 - click_rate, click_rate)) == pytest.approx(
        1 / (4 * click_rate * (1 - click_rate))
    )


def test_it_is_the_variance_of_uniform_sampling_over_that_of_sampling_by_score():
    """With replacement, where the theory is exact but for the variance of the mean gradient itself."""
    score = RANDOM.lognormal(size=500)
    gradient = score[:, None] * RANDOM.choice([-1.0, 1.0], size=(500, 3))
    share = score / score.sum()
    by_score = RANDOM.choice(500, size=200_000, p=share)
    uniform = RANDOM.choice(500, size=200_000)
    second_moment = ((gradient[by_score] / share[by_score, None] / 500) ** 2).mean()
    assert (gradient[uniform] ** 2).mean() / second_moment == pytest.approx(ratio_of(score), rel=0.03)


def test_the_window_forgets():
    ratio = VarianceRatio()
    ratio.update(RANDOM.lognormal(size=2000))
    assert ratio.value > 2
    for _ in range(300):
        ratio.update(np.full(64, 0.5))
    assert ratio.value == pytest.approx(1.0, abs=0.01)


def test_without_a_score_above_zero_there_is_nothing_to_gain():
    assert VarianceRatio().value == 1.0
    assert ratio_of(np.zeros(10)) == 1.0


def test_only_a_strategy_that_selects_by_a_score_says_so():
    rows = ScoredRows(np.zeros(2), np.array([0.0, 1.0]), np.ones(2))
    assert GradientNormSampling(0.5).weigh(rows).variance_ratio is not None
    assert SeedSigmoid(0.5).weigh(rows).variance_ratio is None
