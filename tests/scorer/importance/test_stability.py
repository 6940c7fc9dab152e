import math

import numpy as np
import pytest

from scorer.importance.gradient_norm import gradient_norm
from scorer.importance.stability import spearman, stability, top_overlap, total_variation

RANDOM = np.random.default_rng(0)
LABEL = (np.arange(400) % 4 == 0).astype(float)
SCORE = RANDOM.lognormal(size=400)


def test_the_same_scores_agree_in_everything():
    same = stability(SCORE, 3 * SCORE, LABEL)
    agreement = (same.spearman, same.spearman_clicked, same.spearman_not_clicked, same.top_overlap)
    assert agreement == pytest.approx((1, 1, 1, 1))
    assert same.total_variation == pytest.approx(0, abs=1e-12)


def test_unrelated_scores_agree_by_chance_only():
    other = stability(SCORE, RANDOM.permutation(SCORE), LABEL)
    assert abs(other.spearman) < 0.15
    assert other.top_overlap < 0.3
    assert other.total_variation > 0.3


def test_the_correlation_over_all_rows_flatters_where_the_label_drives_the_score():
    before, after = (gradient_norm(RANDOM.normal(-2, 0.3, 400), LABEL, np.full(400, 5.0)) for _ in range(2))
    moved = stability(before, after, LABEL)
    assert moved.spearman > 0.4
    assert max(abs(moved.spearman_clicked), abs(moved.spearman_not_clicked)) < 0.3


def test_tied_scores_share_the_mean_of_their_ranks():
    """Ranks 1, 2.5, 2.5, 4 against 1, 2, 3, 4: Pearson's correlation of them is 4.5 / sqrt(4.5 * 5)."""
    tied, untied = np.array([1.0, 2.0, 2.0, 3.0]), np.array([1.0, 2.0, 3.0, 4.0])
    assert spearman(tied, untied) == pytest.approx(4.5 / math.sqrt(4.5 * 5))


@pytest.mark.parametrize("scores", [np.array([]), np.array([1.0]), np.ones(5)])
def test_scores_that_do_not_vary_have_no_rank_correlation(scores):
    assert math.isnan(spearman(scores, scores))


def test_the_top_is_a_tenth_of_the_rows():
    before = np.arange(100.0)
    after = before.copy()
    after[[90, 0]] = after[[0, 90]]
    assert top_overlap(before, after) == pytest.approx(0.9)


def test_rows_tied_at_the_edge_of_the_top_share_its_last_places():
    before = np.array([3.0, 1.0, 1.0, 1.0])
    assert top_overlap(before, before, share=0.5) == pytest.approx(1.0)
    # The last place is a third of each tied row before, and one row's afterwards.
    assert top_overlap(before, np.array([3.0, 2.0, 1.0, 1.0]), share=0.5) == pytest.approx((1 + 1 / 3) / 2)


def test_the_total_variation_is_the_weight_that_moved():
    assert total_variation(np.array([1.0, 1.0, 2.0]), np.array([2.0, 1.0, 1.0])) == pytest.approx(0.25)


def test_without_rows_or_weight_nothing_is_told():
    nothing = stability(np.array([]), np.array([]), np.array([]))
    assert all(math.isnan(value) for value in (nothing.spearman, nothing.top_overlap, nothing.total_variation))
    assert math.isnan(total_variation(np.zeros(3), np.ones(3)))


def test_rounds_of_different_rows_are_refused():
    with pytest.raises(ValueError, match=r"\(3,\) and \(4,\)"):
        stability(np.ones(3), np.ones(4), np.ones(3))
