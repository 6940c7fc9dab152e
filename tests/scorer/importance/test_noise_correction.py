import numpy as np
import pytest

from scorer.importance.noise_correction import noise_corrected_weight
from scorer.importance.settings import ImportanceSettings
from scorer.importance.strategies import build_strategy
from scorer.importance.strategy import ScoredRows, sigmoid

Z = np.linspace(-4, 4, 33)


def factors(label, z=Z, **settings):
    rows = ScoredRows(z, np.full(len(z), float(label)), np.ones(len(z)))
    return noise_corrected_weight(ImportanceSettings(**settings), rows)


@pytest.mark.parametrize("label", [0, 1])
def test_the_weighted_gradient_is_that_of_the_log_loss_of_the_seen_label(label):
    """Numeric derivative of -log P(seen label) by z, against w (p - y)."""
    false, missed = 0.05, 0.1

    def loss(z):
        seen = false + (1 - false - missed) * sigmoid(z)
        return -np.log(seen if label else 1 - seen)

    slope = (loss(Z + 1e-5) - loss(Z - 1e-5)) / 2e-5
    weight = factors(label, false_click_rate=false, missed_click_rate=missed)
    np.testing.assert_allclose(weight * (sigmoid(Z) - label), slope, rtol=1e-6, atol=1e-9)


def test_without_noise_all_rows_weigh_alike():
    assert factors(1, false_click_rate=0, missed_click_rate=0).tolist() == pytest.approx([1.0] * len(Z))
    assert factors(0, false_click_rate=0, missed_click_rate=0).tolist() == pytest.approx([1.0] * len(Z))


def test_the_more_surprising_a_click_the_less_it_is_believed():
    weight = factors(1, false_click_rate=0.02)
    assert (np.diff(weight) > 0).all()
    assert weight[0] < 0.5


@pytest.mark.parametrize("label", [0, 1])
def test_extreme_logits_give_finite_weights(label):
    z = np.array([-1e6, -800.0, 800.0, 1e6])
    for rates in ({"false_click_rate": 0.0}, {"false_click_rate": 0.02, "missed_click_rate": 0.02}):
        assert np.isfinite(factors(label, z, **rates)).all()


def test_rows_are_chosen_at_the_budget():
    taught = build_strategy("noise_fc", 0.3).weigh(ScoredRows(Z, np.ones(len(Z)), np.ones(len(Z))))
    assert set(taught.inclusion_probability.tolist()) == {0.3}
