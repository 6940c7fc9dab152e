import numpy as np
import pytest

from scorer.importance.seed_sigmoid import SeedSigmoid
from scorer.importance.strategy import ScoredRows, sigmoid


def rows(seed, size=500):
    return np.random.default_rng(seed).normal(-2, 1, size)


def test_the_weight_is_p_over_its_running_mean_and_ignores_the_label():
    z = rows(0)
    clicked = SeedSigmoid(0.5).weigh(ScoredRows(z, np.ones(500), np.ones(500)))
    passed = SeedSigmoid(0.5).weigh(ScoredRows(z, np.zeros(500), np.ones(500)))
    p = sigmoid(z)
    np.testing.assert_allclose(clicked.importance_weight, np.clip(p / p.mean(), 0.1, 10))
    np.testing.assert_array_equal(clicked.importance_weight, passed.importance_weight)


def test_rows_are_chosen_at_the_budget():
    assert (SeedSigmoid(0.3).weigh(ScoredRows(rows(0), np.ones(500), np.ones(500))).inclusion_probability == 0.3).all()


def test_a_batch_is_normalised_by_the_rows_before_it():
    strategy = SeedSigmoid(0.5)
    strategy.weigh(ScoredRows(rows(0), np.ones(500), np.ones(500)))
    importance = strategy.weigh(ScoredRows(np.array([2.0]), np.ones(1), np.ones(1)))
    assert importance.mean_sigmoid == pytest.approx(sigmoid(rows(0)).mean())


def test_weights_average_one_over_many_micro_batches():
    strategy = SeedSigmoid(0.5)
    weights = [
        strategy.weigh(ScoredRows(rows(seed, 32), np.ones(32), np.ones(32))).importance_weight for seed in range(400)
    ]
    assert np.concatenate(weights[100:]).mean() == pytest.approx(1.0, abs=0.02)
