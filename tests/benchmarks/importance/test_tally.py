import numpy as np
import pytest

from scorer.measures.auc import auc
from tests.benchmarks.importance.results import progressive_auc, windows
from tests.benchmarks.importance.tally import Tally, expected_pairs


def test_expected_pairs_are_the_mean_over_labels_drawn_from_the_probabilities():
    probability = np.array([0.2, 0.7, 0.5, 0.4])
    z = np.array([0.0, 1.0, 1.0, -1.0])
    ordered = pairs = 0.0
    for first in range(4):
        for second in set(range(4)) - {first}:
            chance = probability[first] * (1 - probability[second])
            pairs += chance
            ordered += chance * ((z[first] > z[second]) + 0.5 * (z[first] == z[second]))
    assert expected_pairs(z, probability) == pytest.approx((ordered, pairs))


def test_rows_of_two_rounds_are_never_compared():
    tally = Tally()
    label = np.array([1.0, 0.0, 0.0])
    tally.add_round(np.array([0.0, -1.0, 1.0]), label, np.full(3, np.nan))
    tally.add_round(np.array([100.0, 99.0, 98.0]), label, np.full(3, np.nan))
    assert progressive_auc(tally.as_dict()) == pytest.approx((0.5 + 1.0) / 2)
    assert auc(np.array([0.0, -1.0, 1.0]), label) == 0.5


def test_a_window_holds_enough_clicks_and_the_rest_joins_the_last():
    assert windows([3, 4, 5, 6, 1], least=7) == [slice(0, 2), slice(2, 5)]
