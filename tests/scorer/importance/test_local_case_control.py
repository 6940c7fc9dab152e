import math

import numpy as np
import pytest

from scorer.importance.local_case_control import LocalCaseControl
from scorer.importance.running import UNIFORM_SHARE
from scorer.importance.strategy import ScoredRows, sigmoid


def rows(size, seed=0):
    random = np.random.default_rng(seed)
    z = random.normal(-2, 1, size)
    return ScoredRows(z, (random.random(size) < sigmoid(z)).astype(float), np.ones(size))


def flipped(scored):
    return ScoredRows(scored.z, 1 - scored.label, scored.hidden_norm)


def seen(budget=0.25):
    strategy = LocalCaseControl(budget)
    strategy.weigh(rows(2048))
    return strategy


def test_pi_follows_from_the_recorded_normaliser():
    scored = rows(100, seed=1)
    taught = seen(0.25).weigh(scored)
    surprise = np.abs(scored.label - sigmoid(scored.z)) / taught.mean_score
    np.testing.assert_allclose(taught.inclusion_probability, np.minimum(1, 0.25 * (0.8 * surprise + 0.2)))


def test_the_offset_is_the_log_ratio_of_what_either_label_would_have_been_kept_with():
    scored = rows(100, seed=1)
    as_is, other = seen().weigh(scored), seen().weigh(flipped(scored))
    as_click = np.where(scored.label > 0, as_is.inclusion_probability, other.inclusion_probability)
    as_pass = np.where(scored.label > 0, other.inclusion_probability, as_is.inclusion_probability)
    np.testing.assert_allclose(as_is.logit_offset, np.log(as_click / as_pass))


def test_the_offset_says_nothing_about_the_label():
    scored = rows(100, seed=1)
    np.testing.assert_array_equal(seen().weigh(scored).logit_offset, seen().weigh(flipped(scored)).logit_offset)


def test_weights_are_one_and_offsets_bounded():
    z = np.array([-40.0, 40.0, -40.0, 40.0])
    taught = seen(0.25).weigh(ScoredRows(z, np.array([0.0, 0.0, 1.0, 1.0]), np.ones(4)))
    assert taught.importance_weight.tolist() == [1.0] * 4
    assert np.abs(taught.logit_offset).max() <= math.log(1 / (0.25 * UNIFORM_SHARE)) + 1e-9


def test_without_cut_rows_the_normaliser_is_the_mean_surprise():
    scored = rows(500)
    taught = LocalCaseControl(0.01).weigh(scored)
    assert taught.mean_score == pytest.approx(np.abs(scored.label - sigmoid(scored.z)).mean())
