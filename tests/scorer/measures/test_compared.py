import numpy as np
import pytest

from scorer.measures.compared import Compared, compared


def test_a_comparison_says_by_how_much_live_is_better():
    label = np.array([1.0, 0.0, 0.0])
    one = compared(np.array([1.0, -1.0, -1.0]), np.array([-1.0, 1.0, -2.0]), label)
    assert (one.num_rows, one.num_pairs) == (3, 2)
    assert one.auc == pytest.approx(0.5)
    assert one.log_loss < 0


def test_what_moves_both_versions_alike_is_no_difference():
    random = np.random.default_rng(1)
    z, label = random.normal(size=50), random.integers(0, 2, 50).astype(float)
    assert compared(z, z, label) == Compared(50, int(label.sum() * (50 - label.sum())), 0.0, 0.0)


@pytest.mark.parametrize("label", [[], [0.0, 0.0], [1.0, 1.0]])
def test_rows_of_one_class_say_nothing_about_ranking(label):
    z = np.zeros(len(label))
    one = compared(z, z + 1, np.array(label))
    assert (one.num_pairs, one.auc) == (0, 0.0)


def test_a_logit_that_is_not_finite_is_left_out():
    z = np.array([1.0, np.nan, 0.0, np.inf])
    assert compared(z, np.zeros(4), np.array([1.0, 1.0, 0.0, 0.0])).num_rows == 2
