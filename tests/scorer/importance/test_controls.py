import numpy as np
import pytest

from scorer.importance.strategies import build_strategy
from scorer.importance.strategy import ScoredRows

Z = np.linspace(-3, 3, 7)


@pytest.mark.parametrize(("name", "share"), [("full", 1.0), ("uniform", 0.3), ("no_update", 0.0)])
def test_every_row_has_the_same_probability_and_weight_one(name, share):
    importance = build_strategy(name, 0.3).weigh(ScoredRows(Z, np.ones(7), np.ones(7)))
    assert (importance.inclusion_probability == share).all()
    assert (importance.importance_weight == 1).all()
    assert (importance.mean_score, importance.mean_sigmoid) == (None, None)
