import numpy as np
import pytest

from scorer.importance.strategies import STRATEGIES, build_strategy
from scorer.importance.strategy import ScoredRows

RANDOM = np.random.default_rng(0)
Z = RANDOM.normal(-2, 1, 500)
LABEL = (RANDOM.random(500) < 1 / (1 + np.exp(-Z))).astype(float)
HIDDEN_NORM = RANDOM.uniform(4, 6, 500)


@pytest.mark.parametrize("name", STRATEGIES)
def test_every_strategy_gives_each_row_a_probability_and_a_finite_weight(name):
    importance = build_strategy(name, 0.5).weigh(ScoredRows(Z, LABEL, HIDDEN_NORM))
    assert importance.strategy == name
    assert ((importance.inclusion_probability >= 0) & (importance.inclusion_probability <= 1)).all()
    for values in (importance.inclusion_probability, importance.importance_weight, importance.logit_offset):
        assert values.shape == Z.shape
        assert np.isfinite(values).all()


@pytest.mark.parametrize("name", STRATEGIES)
def test_no_strategy_changes_its_input(name):
    z, label, hidden_norm = Z.copy(), LABEL.copy(), HIDDEN_NORM.copy()
    build_strategy(name, 0.5).weigh(ScoredRows(z, label, hidden_norm))
    assert (z == Z).all()
    assert (label == LABEL).all()
    assert (hidden_norm == HIDDEN_NORM).all()


def test_an_unknown_strategy_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"strategy='best' is not one of full, uniform"):
        build_strategy("best", 0.5)


@pytest.mark.parametrize("budget", [0.0, -0.1, 1.1])
def test_a_budget_that_is_no_share_is_refused(budget):
    with pytest.raises(ValueError, match="budget"):
        build_strategy("uniform", budget)
