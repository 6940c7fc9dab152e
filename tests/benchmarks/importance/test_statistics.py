import numpy as np
import pytest

from tests.benchmarks.importance.statistics import (
    block_interval,
    holm,
    mean_p,
    paired_interval,
    recovered_fraction,
    signed_rank_p,
)


def test_an_interval_of_equal_differences_is_a_point():
    interval = paired_interval([0.01] * 10, seed=1)
    assert (interval.estimate, interval.low, interval.high) == pytest.approx((0.01, 0.01, 0.01))


def test_an_interval_covers_the_mean_and_is_as_wide_as_theory_says():
    difference = np.random.default_rng(0).normal(0.5, 1.0, 400)
    interval = paired_interval(difference, seed=1)
    assert interval.low < difference.mean() < interval.high
    assert interval.high - interval.low == pytest.approx(2 * 1.96 * difference.std() / 20, rel=0.05)


def test_the_recovered_fraction_is_of_the_gap():
    low = np.array([0.70, 0.71, 0.69])
    share = recovered_fraction(low + 0.03, low, low + 0.04, seed=1)
    assert share.estimate == pytest.approx(0.75)


def test_nothing_is_recovered_of_no_gap():
    low = np.array([0.70, 0.71, 0.69])
    assert recovered_fraction(low + 0.03, low, low + np.array([0.01, -0.01, 0.0]), seed=1) is None


def test_ten_differences_of_one_sign_have_the_least_p_of_a_signed_rank_test():
    assert signed_rank_p(np.arange(1, 11) / 100) == pytest.approx(2 / 1024)


@pytest.mark.parametrize("test", [signed_rank_p, mean_p])
def test_arms_that_are_the_same_do_not_differ(test):
    assert test([0.0] * 10) == 1.0


def test_holm_multiplies_the_least_p_by_the_number_of_tests_and_keeps_the_order():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])


def test_holm_never_exceeds_one():
    assert holm([0.6, 0.9]) == [1.0, 1.0]


def test_a_difference_over_time_is_weighted_by_pairs():
    interval = block_interval([1.0, 0.0, 3.0, 0.0], [10.0, 10.0, 30.0, 30.0], block=2, seed=1)
    assert interval.estimate == pytest.approx(0.05)


def test_blocks_widen_the_interval_of_a_difference_that_lasts():
    lasting = np.repeat(np.random.default_rng(0).normal(size=20), 10)
    pairs = np.ones(200)
    alone, together = (block_interval(lasting, pairs, block, seed=1) for block in (1, 10))
    assert together.high - together.low > 1.5 * (alone.high - alone.low)
