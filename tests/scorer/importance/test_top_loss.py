import numpy as np
import pytest

from scorer.importance.strategy import ScoredRows, sigmoid
from scorer.importance.top_loss import TopLoss


def rows(size, seed=0, mean=-2.0):
    random = np.random.default_rng(seed)
    z = random.normal(mean, 1, size)
    return ScoredRows(z, (random.random(size) < sigmoid(z)).astype(float), np.ones(size))


def test_the_rows_of_highest_loss_are_kept_and_no_others():
    scored = rows(1000)
    pi = TopLoss(0.25).weigh(scored).inclusion_probability
    loss = -np.log(np.where(scored.label > 0, sigmoid(scored.z), sigmoid(-scored.z)))
    assert set(pi.tolist()) == {0.0, 1.0}
    assert loss[pi == 1].min() >= loss[pi == 0].max()
    assert pi.mean() == pytest.approx(0.25, abs=0.01)


def test_the_threshold_is_that_of_the_rows_before():
    first, second = TopLoss(0.25), TopLoss(0.25)
    for strategy in (first, second):
        strategy.weigh(rows(1000))
    hard = ScoredRows(np.full(8, -3.0), np.ones(8), np.ones(8))
    assert first.weigh(hard).inclusion_probability.tolist() == [1.0] * 8
    assert second.weigh(rows(8, seed=1, mean=-9.0)).inclusion_probability.tolist() == [0.0] * 8


@pytest.mark.parametrize("size", [1, 32])
def test_the_threshold_follows_a_change_of_the_losses(size):
    strategy = TopLoss(0.5)
    for seed in range(4096 // size):
        strategy.weigh(rows(size, seed, mean=-5.0))
    pi = [strategy.weigh(rows(size, seed, mean=-1.0)).inclusion_probability for seed in range(8192 // size)]
    assert np.concatenate(pi)[6000:].mean() == pytest.approx(0.5, abs=0.03)


def test_rows_of_one_and_the_same_loss_are_kept_in_the_share_of_the_budget():
    strategy = TopLoss(0.25)
    same = ScoredRows(np.zeros(8), np.zeros(8), np.ones(8))
    pi = [strategy.weigh(same).inclusion_probability.mean() for _ in range(2000)]
    assert np.mean(pi[500:]) == pytest.approx(0.25, abs=0.01)


@pytest.mark.parametrize("size", [1, 32])
def test_what_rising_losses_cost_beyond_the_budget_is_repaid(size):
    strategy = TopLoss(0.1)
    calls = 32768 // size
    pi = [strategy.weigh(rows(size, seed, mean=-5.0 + 4 * seed / calls)).inclusion_probability for seed in range(calls)]
    assert np.concatenate(pi).mean() == pytest.approx(0.1, rel=0.01)
