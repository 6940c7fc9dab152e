import numpy as np
import pytest

from scorer.importance.gradient_norm import GradientNormSampling
from scorer.importance.seed_sigmoid import SeedSigmoid
from scorer.importance.variance_ratio import SelectsByScore, VarianceRatio

RANDOM = np.random.default_rng(0)


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
    assert isinstance(GradientNormSampling(0.5), SelectsByScore)
    assert not isinstance(SeedSigmoid(0.5), SelectsByScore)
