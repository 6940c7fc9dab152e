import numpy as np
import pytest

from scorer.importance.gradient_norm import GradientNormSampling
from scorer.importance.running import UNIFORM_SHARE
from scorer.importance.strategy import ScoredRows, sigmoid


def rows(size, click_rate=0.1, seed=0):
    random = np.random.default_rng(seed)
    z = random.normal(np.log(click_rate / (1 - click_rate)), 1, size)
    label = (random.random(size) < sigmoid(z)).astype(float)
    return z, label, random.uniform(4, 6, size)


def stream(strategy, num_batches, size=64, click_rate=0.1):
    return [strategy.weigh(ScoredRows(*rows(size, click_rate, seed))) for seed in range(num_batches)]


@pytest.mark.parametrize("budget", [0.05, 0.25, 0.5, 0.8])
@pytest.mark.parametrize("click_rate", [0.02, 0.15, 0.5])
def test_the_expected_share_of_learned_rows_is_the_budget(budget, click_rate):
    batches = stream(GradientNormSampling(budget), 400, click_rate=click_rate)
    pi = np.concatenate([batch.inclusion_probability for batch in batches[100:]])
    assert pi.mean() == pytest.approx(budget, rel=0.02)


def test_learned_rows_have_mean_weight_one():
    batches = stream(GradientNormSampling(0.5), 400)[100:]
    pi = np.concatenate([batch.inclusion_probability for batch in batches])
    weight = np.concatenate([batch.importance_weight for batch in batches])
    assert (pi * weight).sum() / pi.sum() == pytest.approx(1.0, rel=0.02)


def test_the_weight_is_budget_over_pi_and_at_most_one_over_the_uniform_share():
    for importance in stream(GradientNormSampling(0.25), 20):
        np.testing.assert_allclose(importance.importance_weight, 0.25 / importance.inclusion_probability)
        assert importance.importance_weight.max() <= 1 / UNIFORM_SHARE + 1e-9


def test_a_row_is_likelier_the_longer_its_last_layer_gradient():
    z, label, hidden_norm = rows(1000)
    length = np.abs(sigmoid(z) - label) * np.sqrt(hidden_norm**2 + 1)
    pi = GradientNormSampling(0.25).weigh(ScoredRows(z, label, hidden_norm)).inclusion_probability
    assert (np.diff(pi[np.argsort(length)]) >= -1e-12).all()


def test_pi_follows_from_the_recorded_normaliser():
    strategy = GradientNormSampling(0.5)
    strategy.weigh(ScoredRows(*rows(500)))
    z, label, hidden_norm = rows(50, seed=1)
    importance = strategy.weigh(ScoredRows(z, label, hidden_norm))
    score = np.abs(sigmoid(z) - label) * np.sqrt(hidden_norm**2 + 1)
    expected = np.minimum(1, 0.5 * (0.8 * score / importance.mean_score + 0.2))
    np.testing.assert_allclose(importance.inclusion_probability, expected)


def test_without_cut_rows_the_normaliser_is_the_mean_score():
    z, label, hidden_norm = rows(500)
    importance = GradientNormSampling(0.01).weigh(ScoredRows(z, label, hidden_norm))
    score = np.abs(sigmoid(z) - label) * np.sqrt(hidden_norm**2 + 1)
    assert importance.mean_score == pytest.approx(score.mean())


def test_the_weighted_gradient_of_kept_rows_is_the_full_gradient():
    """Monte Carlo over draws: E[kept * w * g] / budget equals the mean of g for any row statistic g."""
    random = np.random.default_rng(5)
    z, label, hidden_norm = rows(400)
    importance = GradientNormSampling(0.25).weigh(ScoredRows(z, label, hidden_norm))
    gradient = (sigmoid(z) - label)[:, None] * random.normal(size=(400, 3))
    draws = random.random((20_000, 400)) < importance.inclusion_probability
    estimates = (draws * importance.importance_weight) @ gradient / (0.25 * 400)
    standard_error = estimates.std(axis=0) / np.sqrt(len(draws))
    assert (np.abs(estimates.mean(axis=0) - gradient.mean(axis=0)) < 5 * standard_error).all()


def test_its_variance_is_below_that_of_uniform_sampling():
    z, label, hidden_norm = rows(4000, click_rate=0.05)
    pi = GradientNormSampling(0.25).weigh(ScoredRows(z, label, hidden_norm)).inclusion_probability
    squared = ((sigmoid(z) - label) ** 2) * (hidden_norm**2 + 1)
    assert ((1 - pi) / pi * squared).sum() < 0.5 * ((1 - 0.25) / 0.25 * squared).sum()


def test_a_click_rate_learned_through_it_is_the_true_one():
    """The fixed point of a bias learned by weighted log loss, in micro-batches of 32 rows."""
    random = np.random.default_rng(1)
    strategy = GradientNormSampling(0.25)
    bias = -1.0
    learned = []
    for step in range(6000):
        label = (random.random(32) < 0.05).astype(float)
        importance = strategy.weigh(ScoredRows(np.full(32, bias), label, np.full(32, 5.0)))
        kept = random.random(32) < importance.inclusion_probability
        gradient = (importance.importance_weight * (sigmoid(np.full(32, bias)) - label))[kept].sum() / 8
        bias -= 0.1 * gradient
        if step >= 2000:
            learned.append(sigmoid(np.array([bias]))[0])
    assert np.mean(learned) == pytest.approx(0.05, abs=0.004)


def test_the_budget_holds_again_after_the_scores_change():
    strategy = GradientNormSampling(0.5)
    stream(strategy, 100, click_rate=0.5)
    batches = stream(strategy, 400, click_rate=0.02)
    assert np.mean([batch.inclusion_probability.mean() for batch in batches[300:]]) == pytest.approx(0.5, rel=0.03)
