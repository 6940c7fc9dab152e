"""Scores of different names that rank rows alike: for a binary head, loss, EL2N, margin and focal factor are one."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from scorer.importance.gradient_norm import GradientNormSampling, gradient_norm
from scorer.importance.local_case_control import LocalCaseControl
from scorer.importance.strategy import ScoredRows, sigmoid
from scorer.importance.top_loss import TopLoss

RANDOM = np.random.default_rng(0)
Z = RANDOM.normal(-2, 1.5, 1000)
LABEL = (RANDOM.random(1000) < sigmoid(Z)).astype(float)
SURPRISE = np.abs(sigmoid(Z) - LABEL)
SIGNED_Z = np.where(LABEL > 0, Z, -Z)
PROBABILITIES = np.column_stack([sigmoid(-Z), sigmoid(Z)])
ONE_HOT = np.column_stack([1 - LABEL, LABEL])
ROWS = ScoredRows(Z, LABEL, np.full(1000, 5.0))

SCORES = {
    "log loss": np.logaddexp(0.0, -SIGNED_Z),
    "EL2N": np.linalg.norm(PROBABILITIES - ONE_HOT, axis=1),
    "negative margin": -SIGNED_Z,
    "focal factor": (1 - np.exp(-np.logaddexp(0.0, -SIGNED_Z))) ** 2,
    "gradient norm at equal ||h||": gradient_norm(Z, LABEL, np.full(1000, 5.0)),
}


@pytest.mark.parametrize("name", SCORES)
def test_a_score_of_label_and_probability_ranks_rows_as_the_distance_of_the_two_does(name):
    assert spearmanr(SCORES[name], SURPRISE).statistic == pytest.approx(1.0, abs=1e-9)


def test_el2n_is_root_two_times_the_distance():
    np.testing.assert_allclose(SCORES["EL2N"], np.sqrt(2) * SURPRISE)


def test_the_loss_is_minus_log_of_one_minus_the_distance():
    np.testing.assert_allclose(SCORES["log loss"], -np.log1p(-SURPRISE))


def test_at_equal_norms_sampling_strategies_order_rows_alike():
    pi = [strategy(0.1).weigh(ROWS).inclusion_probability for strategy in (GradientNormSampling, LocalCaseControl)]
    np.testing.assert_allclose(*pi)
    kept = TopLoss(0.1).weigh(ROWS).inclusion_probability > 0
    assert pi[0][kept].min() >= pi[0][~kept].max()


def test_only_what_adds_information_ranks_otherwise():
    """The length of h does; so would a reference, a gradient's direction, time or propensity."""
    hidden_norm = RANDOM.uniform(1, 20, 1000)
    assert spearmanr(gradient_norm(Z, LABEL, hidden_norm), SURPRISE).statistic < 0.95
