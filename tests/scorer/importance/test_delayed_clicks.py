import numpy as np

from scorer.importance.strategies import build_strategy
from scorer.importance.strategy import ScoredRows, sigmoid


def test_a_click_weighs_one_plus_p_and_a_non_click_that_times_one_minus_p():
    z = np.repeat(np.linspace(-4, 2, 7), 2)
    label = np.tile([1.0, 0.0], 7)
    taught = build_strategy("delay_fnw", 0.3).weigh(ScoredRows(z, label, np.ones(14)))
    p = sigmoid(z)
    np.testing.assert_allclose(taught.importance_weight, np.where(label > 0, 1 + p, (1 - p) * (1 + p)))
    assert set(taught.inclusion_probability.tolist()) == {0.3}
