import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from scorer.measures.auc import auc, auc_difference_interval, delong_interval, within_group_auc

rows = st.lists(st.tuples(st.integers(-3, 3), st.integers(0, 1)), min_size=2, max_size=40).filter(
    lambda values: len({label for _, label in values}) == 2
)


def simulated(seed: int, num_rows: int, signal: float) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    label = (random.random(num_rows) < 0.2).astype(int)
    return random.normal(size=num_rows) + signal * label, label


@given(rows)
def test_auc_agrees_with_the_oracle_whatever_the_ties(values: list[tuple[int, int]]) -> None:
    score, label = zip(*values, strict=True)
    assert auc(score, label) == pytest.approx(roc_auc_score(label, score))


def test_two_equal_scores_are_half_right() -> None:
    assert auc([0.2, 0.2], [0, 1]) == 0.5


@pytest.mark.parametrize("label", [[0, 0, 0], [1, 1, 1], []])
def test_auc_of_one_class_is_not_a_number(label: list[int]) -> None:
    assert math.isnan(auc([0.1] * len(label), label))


def test_a_score_that_is_not_a_number_is_refused() -> None:
    with pytest.raises(ValueError, match="1 of 2 scores are NaN"):
        auc([math.nan, 0.1], [0, 1])


def test_shapes_that_differ_are_refused() -> None:
    with pytest.raises(ValueError, match="one score and one label a row"):
        auc([0.1, 0.2], [1])


def test_within_group_auc_pools_the_pairs_of_each_group() -> None:
    random = np.random.default_rng(0)
    score = random.integers(0, 5, 200).astype(float)
    label = random.integers(0, 2, 200)
    group = random.integers(0, 12, 200)
    won = pairs = 0.0
    for name in range(12):
        inside = group == name
        size = label[inside].sum() * (1 - label[inside]).sum()
        if size:
            won += size * roc_auc_score(label[inside], score[inside])
            pairs += size
    assert within_group_auc(score, label, group) == pytest.approx(won / pairs)


def test_within_group_auc_ignores_how_groups_compare() -> None:
    # The clicked row of each query is on top, yet all of query b scores above query a.
    assert within_group_auc([1, 2, 11, 12], [0, 1, 0, 1], ["a", "a", "b", "b"]) == 1.0
    assert auc([1, 2, 11, 12], [0, 1, 0, 1]) < 1.0


def test_within_group_auc_without_a_pair_is_not_a_number() -> None:
    assert math.isnan(within_group_auc([1, 2], [0, 1], ["a", "b"]))


def test_delong_variance_equals_the_pairwise_definition() -> None:
    score, label = simulated(1, 60, 1.0)
    clicked, other = score[label == 1], score[label == 0]
    kernel = (clicked[:, None] > other[None, :]) + 0.5 * (clicked[:, None] == other[None, :])
    variance = kernel.mean(axis=1).var(ddof=1) / len(clicked) + kernel.mean(axis=0).var(ddof=1) / len(other)
    interval = delong_interval(score, label)
    assert interval.estimate == pytest.approx(auc(score, label))
    assert interval.high - interval.estimate == pytest.approx(1.959964 * math.sqrt(variance), rel=1e-5)


def test_the_interval_covers_the_true_auc_as_often_as_it_says() -> None:
    # Two unit normals one apart: AUC = Phi(1 / sqrt(2)) = 0.7602.
    intervals = [delong_interval(*simulated(seed, 400, 1.0)) for seed in range(400)]
    covered = np.mean([interval.low <= 0.7602 <= interval.high for interval in intervals])
    assert 0.92 <= covered <= 0.98


def test_the_paired_difference_is_the_difference_of_the_aucs() -> None:
    score, label = simulated(2, 300, 1.0)
    worse = score + np.random.default_rng(3).normal(size=300)
    interval = auc_difference_interval(worse, score, label)
    assert interval.estimate == pytest.approx(auc(worse, label) - auc(score, label))
    assert interval.low < interval.estimate < interval.high


def test_pairing_narrows_the_interval_of_like_scores() -> None:
    score, label = simulated(4, 500, 1.0)
    alike = score + 0.05 * np.random.default_rng(5).normal(size=500)
    paired = auc_difference_interval(alike, score, label)
    single = delong_interval(score, label)
    assert paired.high - paired.low < 0.2 * (single.high - single.low)


def test_equal_scores_differ_by_nothing() -> None:
    score, label = simulated(6, 200, 0.5)
    interval = auc_difference_interval(score, score, label)
    assert (interval.estimate, interval.low, interval.high) == (0.0, 0.0, 0.0)


def test_one_click_gives_no_interval() -> None:
    assert math.isnan(delong_interval([1, 2, 3], [0, 0, 1]).low)
    assert math.isnan(auc_difference_interval([1, 2, 3], [1, 2, 3], [0, 0, 1]).low)
