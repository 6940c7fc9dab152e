"""Spans: the consecutive rows over which one AUC is taken, so that scores of distant versions are never compared."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from scorer.measures.auc import auc

Doubles = npt.NDArray[np.float64]

MIN_ROWS = 512
"""Rows of a span: a version serves for about as many."""

MIN_OF_A_CLASS = 5
"""Clicks, and rows without one, that a span holds at least."""


@dataclass(frozen=True)
class SpanAuc:
    """The AUC of each span, and how much it counts; arrays of one length.

    Attributes:
        auc: NaN where a class is missing.
        weight: Pairs of a clicked row and another one that were compared.
    """

    auc: Doubles
    weight: Doubles

    @property
    def mean(self) -> float:
        """The mean over spans, each weighted by its pairs; NaN without a pair."""
        counted = self.weight > 0
        if not counted.any():
            return float("nan")
        return float(np.average(self.auc[counted], weights=self.weight[counted]))


def cut_spans(label_N: npt.ArrayLike) -> list[slice]:
    """Return the spans of some rows: each as short as the two minima allow, the last one with what is left over.

    They depend on the labels alone, so all arms of a stream are compared over the same ones.
    """
    clicks_N = np.cumsum(np.asarray(label_N, dtype=np.int64))
    num_rows = len(clicks_N)
    ends = list(_ends(clicks_N))
    if num_rows == 0:
        return []
    ends = [*ends[:-1], num_rows] if ends else [num_rows]
    return [slice(start, end) for start, end in zip([0, *ends[:-1]], ends, strict=True)]


def span_auc(score_N: Doubles, label_N: npt.ArrayLike, spans: Sequence[slice]) -> SpanAuc:
    """Return the AUC over each span of the rows that have a score; the others hold NaN."""
    label = np.asarray(label_N)
    aucs, weights = np.full(len(spans), np.nan), np.zeros(len(spans))
    for index, span in enumerate(spans):
        scored = ~np.isnan(score_N[span])
        clicked = label[span][scored] == 1
        weights[index] = float(clicked.sum()) * float((~clicked).sum())
        if weights[index]:
            aucs[index] = auc(score_N[span][scored], clicked)
    return SpanAuc(aucs, weights)


def _ends(clicks_N: npt.NDArray[np.int64]) -> Iterator[int]:
    others_N = np.arange(1, len(clicks_N) + 1) - clicks_N
    start, num_rows = 0, len(clicks_N)
    while True:
        clicks, others = (clicks_N[start - 1], others_N[start - 1]) if start else (0, 0)
        enough_clicks = int(np.searchsorted(clicks_N, clicks + MIN_OF_A_CLASS)) + 1
        enough_others = int(np.searchsorted(others_N, others + MIN_OF_A_CLASS)) + 1
        start = max(start + MIN_ROWS, enough_clicks, enough_others)
        if start > num_rows:
            return
        yield start
