import math

import numpy as np
import pytest

from scorer.measures.auc import auc
from scorer.measures.spans import MIN_OF_A_CLASS, MIN_ROWS, cut_spans, span_auc


def labels(num_rows: int, rate: float) -> np.ndarray:
    return (np.random.default_rng(1).random(num_rows) < rate).astype(np.int8)


@pytest.mark.parametrize("rate", [0.005, 0.02, 0.5, 0.999])
def test_spans_cover_all_rows_and_hold_enough_of_each_class(rate):
    label = labels(20_000, rate)
    spans = cut_spans(label)
    assert [span.start for span in spans] == [0, *(span.stop for span in spans[:-1])]
    assert spans[-1].stop == 20_000
    for span in spans:
        assert span.stop - span.start >= MIN_ROWS
        assert min(label[span].sum(), (1 - label[span]).sum()) >= MIN_OF_A_CLASS


def test_spans_are_no_longer_than_needed():
    spans = cut_spans(labels(10_240, 0.5))
    assert len(spans) == 10_240 // MIN_ROWS


def test_too_few_rows_are_one_span():
    assert cut_spans(labels(100, 0.5)) == [slice(0, 100)]
    assert cut_spans(np.zeros(2_000, dtype=np.int8)) == [slice(0, 2_000)]
    assert cut_spans(np.zeros(0, dtype=np.int8)) == []


def test_the_mean_weighs_spans_by_their_pairs():
    label = np.array([1, 0, 1, 1, 0, 0])
    score = np.array([1.0, 0.0, 1.0, 0.0, 2.0, 0.5])
    found = span_auc(score, label, [slice(0, 2), slice(2, 6)])
    assert found.weight.tolist() == [1, 4]
    assert found.auc.tolist() == [1.0, auc(score[2:], label[2:])]
    assert found.mean == pytest.approx((1.0 + 4 * auc(score[2:], label[2:])) / 5)


def test_rows_without_a_score_and_spans_of_one_class_do_not_count():
    label = np.array([1, 0, 1, 0, 0])
    score = np.array([1.0, 0.0, np.nan, 0.0, 0.0])
    found = span_auc(score, label, [slice(0, 2), slice(2, 5)])
    assert found.weight.tolist() == [1, 0]
    assert found.mean == 1.0
    assert math.isnan(span_auc(score, label, [slice(2, 5)]).mean)
