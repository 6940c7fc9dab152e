"""How sure one may be that one arm is better than another: paired bootstrap intervals."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from scorer.measures.auc import Interval

Doubles = npt.NDArray[np.float64]

DRAWS = 2_000
CONFIDENCE = 0.95
MIN_SPANS = 8
"""Spans below which resampling them says nothing."""

MIN_SEEDS = 5
"""Streams below which resampling them says nothing; then their spans are resampled."""

_BOOTSTRAP_SEED = 20_130_228


@dataclass(frozen=True)
class Differences:
    """One arm minus another over the spans of one stream, both having scored the same rows; arrays of one length.

    Attributes:
        value: Difference of AUC in each span.
        weight: How much the span counts.
    """

    value: Doubles
    weight: Doubles

    @property
    def mean(self) -> float:
        """The weighted mean over spans; NaN without weight."""
        return float(self.value @ self.weight / self.weight.sum()) if self.weight.sum() else math.nan

    @property
    def block_length(self) -> int:
        """Spans of one block: the square root of their number, so that slow swings stay whole."""
        return math.ceil(math.sqrt(len(self.value)))


def block_interval(streams: Sequence[Differences]) -> Interval:
    """Return the mean difference with its interval by the moving-block bootstrap (Kuensch 1989), ends joined.

    Blocks of consecutive spans are drawn, because what differs in one span mostly differs in the next one too. The last
    span is followed by the first one (Politis and Romano 1992): else the spans at both ends would be drawn less often
    than others, and the interval would not lie around the estimate. Several streams are resampled independently and
    averaged: the interval is about these streams, not about others like them.

    Args:
        streams: Differences of each stream, at least `MIN_SPANS` spans in each.
    """
    random = np.random.default_rng(_BOOTSTRAP_SEED)
    drawn_D = np.mean([_resampled(stream, random) for stream in streams], axis=0)
    return _interval(float(np.mean([stream.mean for stream in streams])), drawn_D)


def seed_interval(streams: Sequence[Differences]) -> Interval:
    """Return the mean difference with its interval by the bootstrap over streams, each with a seed of its own.

    Args:
        streams: Differences of each stream, at least `MIN_SEEDS` of them.
    """
    random = np.random.default_rng(_BOOTSTRAP_SEED)
    mean_S = np.array([stream.mean for stream in streams])
    drawn_D = mean_S[random.integers(len(mean_S), size=(DRAWS, len(mean_S)))].mean(axis=1)
    return _interval(float(mean_S.mean()), drawn_D)


def averaged(streams: Sequence[Differences]) -> Differences:
    """Return the mean over seeds of differences on the same rows: seeds of one stream are one sample of time.

    Args:
        streams: Differences with the same spans and weights.
    """
    return Differences(np.mean([stream.value for stream in streams], axis=0), streams[0].weight)


def _resampled(stream: Differences, random: np.random.Generator) -> Doubles:
    num_spans, length = len(stream.value), stream.block_length
    start_DK = random.integers(num_spans, size=(DRAWS, math.ceil(num_spans / length)))
    place_DN = (start_DK[:, :, None] + np.arange(length)).reshape(DRAWS, -1)[:, :num_spans] % num_spans
    weight_DN = stream.weight[place_DN]
    return np.asarray((stream.value[place_DN] * weight_DN).sum(axis=1) / weight_DN.sum(axis=1))


def _interval(estimate: float, drawn_D: Doubles) -> Interval:
    low, high = np.quantile(drawn_D, ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2))
    return Interval(estimate, float(low), float(high))
