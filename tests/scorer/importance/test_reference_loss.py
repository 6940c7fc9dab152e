import math

import numpy as np
import pytest

from scorer.importance.reference_loss import MAX_WEIGHT, MIN_WEIGHT
from scorer.importance.settings import ImportanceSettings
from scorer.importance.strategies import build_strategy
from scorer.importance.strategy import ScoredRows, sigmoid

Z = np.array([-2.0, -2.0, 1.0, 1.0])
LABEL = np.array([1.0, 0.0, 1.0, 0.0])
REFERENCE = np.array([-1.0, -1.0, 0.5, 0.5])


def weights(reference, strength=0.5, z=Z, label=LABEL):
    strategy = build_strategy("rho_ref", 0.5, ImportanceSettings(reference_strength=strength))
    return strategy.weigh(ScoredRows(z, label, np.ones(len(z)), reference)).importance_weight


def test_the_weight_is_a_power_of_how_much_likelier_the_reference_thought_the_label():
    expected = [
        (sigmoid(r if y else -r) / sigmoid(z if y else -z)) ** 0.5 for z, y, r in zip(Z, LABEL, REFERENCE, strict=True)
    ]
    np.testing.assert_allclose(weights(REFERENCE), expected)


def test_a_reference_that_agrees_weighs_nothing_up_or_down():
    np.testing.assert_allclose(weights(Z), 1.0)


def test_rows_that_the_reference_did_not_score_weigh_one():
    found = weights(np.array([math.nan, -1.0, math.nan, 0.5]))
    assert found[[0, 2]].tolist() == [1.0, 1.0]
    np.testing.assert_allclose(found[[1, 3]], weights(REFERENCE)[[1, 3]])


def test_without_a_reference_all_rows_weigh_one():
    assert weights(None).tolist() == [1.0] * 4


@pytest.mark.parametrize(("reference", "bound"), [(900.0, MAX_WEIGHT), (-900.0, MIN_WEIGHT)])
def test_extreme_disagreement_is_bounded(reference, bound):
    found = weights(np.array([reference]), strength=1.0, z=np.array([-900.0 if bound > 1 else 900.0]), label=np.ones(1))
    assert found.tolist() == pytest.approx([bound])


def test_rows_are_chosen_at_the_budget():
    taught = build_strategy("rho_ref", 0.3).weigh(ScoredRows(Z, LABEL, np.ones(4), REFERENCE))
    assert set(taught.inclusion_probability.tolist()) == {0.3}
