from dataclasses import replace

import numpy as np
import pytest

from scorer.importance.strategy import MAX_FACTOR, MIN_FACTOR, importance, sigmoid


def test_factors_are_multiplied_and_their_product_clipped_once():
    pi = np.array([0.5, 0.5, 0.5])
    taught = replace(importance("x", pi), factor=np.array([20.0, 2.0, 0.01])).times(np.array([0.1, 100.0, 1.0]))
    assert taught.importance_weight.tolist() == [2.0, MAX_FACTOR, MIN_FACTOR]


def test_the_sampling_correction_is_never_clipped():
    taught = replace(importance("x", np.array([0.001])), sampling_correction=np.array([500.0]), factor=np.array([20.0]))
    assert taught.importance_weight.tolist() == [500.0 * MAX_FACTOR]


def test_a_factor_of_zero_teaches_nothing():
    taught = replace(importance("x", np.ones(2)), factor=np.array([0.0, 1e-9]))
    assert taught.importance_weight.tolist() == [0.0, MIN_FACTOR]


def test_a_row_that_a_factor_silences_is_not_drawn():
    taught = importance("x", np.array([0.5, 0.5])).times(np.array([0.0, 2.0]))
    assert taught.inclusion_probability.tolist() == [0.0, 0.5]


@pytest.mark.parametrize(("z", "p"), [(0.0, 0.5), (-1000.0, 0.0), (1000.0, 1.0)])
def test_sigmoid_is_exact_at_the_ends(z, p):
    assert sigmoid(np.array([z]))[0] == p
