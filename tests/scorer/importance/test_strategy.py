import numpy as np
import pytest

from scorer.importance.strategy import MAX_FACTOR, MIN_FACTOR, compose, sigmoid


def test_factors_are_multiplied_and_their_product_clipped_once():
    pi = np.array([0.5, 0.5, 0.5])
    importance = compose("x", pi, factors=(np.array([20.0, 2.0, 0.01]), np.array([0.1, 100.0, 1.0])))
    assert importance.importance_weight.tolist() == [2.0, MAX_FACTOR, MIN_FACTOR]


def test_the_sampling_correction_is_never_clipped():
    importance = compose("x", np.array([0.001]), sampling_correction=np.array([500.0]), factors=(np.array([20.0]),))
    assert importance.importance_weight.tolist() == [500.0 * MAX_FACTOR]


@pytest.mark.parametrize(("z", "p"), [(0.0, 0.5), (-1000.0, 0.0), (1000.0, 1.0)])
def test_sigmoid_is_exact_at_the_ends(z, p):
    assert sigmoid(np.array([z]))[0] == p
