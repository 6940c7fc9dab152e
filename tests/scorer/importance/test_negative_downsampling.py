import math

import numpy as np
import pytest

from scorer.importance.negative_downsampling import SMALLEST_RATE, NegativeDownsampling
from scorer.importance.strategy import ScoredRows


def rows(labels):
    label = np.array(labels, dtype=float)
    return ScoredRows(np.zeros(len(label)), label, np.ones(len(label)))


def seen(click_rate, budget, size=1000):
    """Return a strategy that has seen this click rate."""
    strategy = NegativeDownsampling(budget)
    strategy.weigh(rows(np.arange(size) < size * click_rate))
    return strategy


def test_clicks_are_kept_and_non_clicks_fill_the_rest_of_the_budget():
    taught = seen(0.1, 0.25).weigh(rows([1, 0]))
    rate = 0.15 / 0.9
    assert taught.inclusion_probability.tolist() == [1.0, pytest.approx(rate)]
    assert taught.logit_offset.tolist() == [pytest.approx(-math.log(rate))] * 2
    assert taught.importance_weight.tolist() == [1.0, 1.0]
    assert taught.strategy == "negdown_offset"


@pytest.mark.parametrize("click_rate", [0.495, 0.5, 0.9, 1.0])
def test_where_clicks_alone_fill_the_budget_rows_are_drawn_uniformly(click_rate):
    taught = seen(click_rate, 0.5).weigh(rows([1, 0]))
    assert taught.strategy == "uniform"
    assert taught.inclusion_probability.tolist() == [0.5, 0.5]
    assert taught.logit_offset.tolist() == [0.0, 0.0]


def test_it_takes_over_again_when_clicks_are_rare_enough():
    strategy = seen(0.6, 0.5)
    for _ in range(100):
        strategy.weigh(rows(np.arange(64) < 4))
    assert strategy.weigh(rows([0])).strategy == "negdown_offset"


def test_the_offset_stays_within_its_bound():
    taught = seen(0.49, 0.5).weigh(rows([0]))
    assert taught.strategy == "negdown_offset"
    assert taught.logit_offset[0] <= -math.log(SMALLEST_RATE)


def test_the_rate_is_that_of_the_rows_before():
    strategy = seen(0.1, 0.25)
    first, second = strategy.weigh(rows([1] * 100)), strategy.weigh(rows([1]))
    assert first.logit_offset[0] == pytest.approx(-math.log(0.15 / 0.9))
    assert second.logit_offset[0] > first.logit_offset[0]
