import numpy as np
import pytest

from scorer.importance.effective_sample_size import WatchedStrategy, effective_sample_size
from scorer.importance.strategy import ScoredRows, importance


class LopsidedStrategy:
    """Gives one row in `period` nearly all the weight."""

    name = "lopsided"

    def __init__(self, period):
        self.period = period

    def weigh(self, rows):
        weight = np.where(np.arange(len(rows)) % self.period == 0, float(self.period), 1e-6)
        return importance(self.name, np.full(len(rows), 0.5), sampling_correction=weight)

    def snapshot(self):
        return {}

    def restore(self, state):
        pass


def weigh(strategy, size=500):
    return strategy.weigh(ScoredRows(np.zeros(size), np.zeros(size), np.ones(size)))


def test_equal_weights_count_fully_and_one_heavy_row_counts_as_one():
    assert effective_sample_size(np.full(8, 3.0)) == pytest.approx(8)
    assert effective_sample_size(np.array([1.0, 0.0, 0.0])) == pytest.approx(1)
    assert effective_sample_size(np.array([])) == 0


def test_a_strategy_with_a_collapsed_sample_is_replaced_by_uniform_and_counted():
    watched = WatchedStrategy(LopsidedStrategy(period=10), budget=0.25)
    names = [weigh(watched).strategy for _ in range(6)]
    assert names == ["lopsided"] * 3 + ["uniform"] * 3
    assert watched.num_replaced == 1500
    assert (weigh(watched).inclusion_probability == 0.25).all()


def test_a_moderate_sample_is_left_alone():
    watched = WatchedStrategy(LopsidedStrategy(period=3), budget=0.25)
    assert {weigh(watched).strategy for _ in range(10)} == {"lopsided"}
    assert watched.effective_share == pytest.approx(1 / 3, rel=1e-2)


def test_a_replaced_strategy_takes_over_again_when_its_share_recovers():
    inner = LopsidedStrategy(period=10)
    watched = WatchedStrategy(inner, budget=0.25)
    for _ in range(6):
        weigh(watched)
    inner.period = 1
    assert [weigh(watched).strategy for _ in range(40)][-1] == "lopsided"


def test_the_window_goes_on_from_a_snapshot():
    watched = WatchedStrategy(LopsidedStrategy(period=10), budget=0.25)
    for _ in range(6):
        weigh(watched)
    restored = WatchedStrategy(LopsidedStrategy(period=10), budget=0.25)
    restored.restore(watched.snapshot())
    assert weigh(restored).strategy == "uniform"
