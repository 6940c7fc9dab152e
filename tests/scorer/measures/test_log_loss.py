import math

import numpy as np
import pytest
from sklearn.metrics import log_loss as oracle_log_loss

from scorer.measures.log_loss import calibration, log_loss, normalized_entropy, row_log_loss, sigmoid


def test_log_loss_agrees_with_the_oracle() -> None:
    random = np.random.default_rng(0)
    z, label = random.normal(size=200), random.integers(0, 2, 200)
    assert log_loss(z, label) == pytest.approx(oracle_log_loss(label, sigmoid(z)))


def test_a_huge_logit_costs_its_size_and_overflows_nothing() -> None:
    assert row_log_loss([1000.0, -1000.0], [0, 1]).tolist() == [1000.0, 1000.0]
    assert sigmoid([-1000.0, 1000.0]).tolist() == [0.0, 1.0]


def test_saying_the_rate_has_normalized_entropy_one() -> None:
    label = np.array([1] * 20 + [0] * 80)
    assert normalized_entropy(np.full(100, math.log(0.2 / 0.8)), label) == pytest.approx(1.0)


def test_saying_the_rate_is_calibrated() -> None:
    label = np.array([1] * 20 + [0] * 80)
    assert calibration(np.full(100, math.log(0.2 / 0.8)), label) == pytest.approx(1.0)


def test_promising_twice_the_rate_has_calibration_two() -> None:
    assert calibration(np.zeros(100), np.array([1] * 25 + [0] * 75)) == pytest.approx(2.0)


@pytest.mark.parametrize("label", [[], [0, 0], [1, 1]])
def test_normalized_entropy_of_one_class_is_not_a_number(label: list[int]) -> None:
    assert math.isnan(normalized_entropy([0.0] * len(label), label))


def test_calibration_without_clicks_is_not_a_number() -> None:
    assert math.isnan(calibration([0.0], [0]))


def test_no_rows_have_no_log_loss() -> None:
    assert math.isnan(log_loss([], []))
