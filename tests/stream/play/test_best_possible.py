import math

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from stream.play.best_possible import best_possible_auc


def test_it_is_the_auc_with_ties_counting_half():
    rng = np.random.default_rng(0)
    truth = rng.integers(1, 9, size=500) / 10
    label = (rng.random(500) < truth).astype(int)
    assert best_possible_auc(truth.tolist(), label.tolist()) == pytest.approx(roc_auc_score(label, truth))


@pytest.mark.parametrize("label", [[], [0, 0], [1, 1]])
def test_it_is_unknown_without_both_classes(label):
    assert math.isnan(best_possible_auc([0.5] * len(label), label))
