"""What changes along a stream, as points that a figure can draw: means over seeds in bins of rows."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trainer.backtest.runs.predictions import Predictions
from trainer.backtest.runs.results import Run
from trainer.backtest.runs.rounds import Round

Doubles = npt.NDArray[np.float64]
Metric = Callable[[Doubles, npt.NDArray[np.int8]], float]

MIN_BIN_ROWS = 1_024
MAX_BINS = 60


@dataclass(frozen=True)
class Curve:
    """Points of one line.

    Attributes:
        row: Place in the stream of the middle of each bin.
        value: Mean over seeds; NaN where it is not defined.
    """

    row: Doubles
    value: Doubles


def score_curve(runs: Sequence[Run], score: str, metric: Metric) -> Curve:
    """Return a metric of one of the scores in `Predictions` along the stream.

    Args:
        runs: Of one arm.
        score: z_live, z_frozen or click_probability.
        metric: Of scores and labels.
    """
    edges = _edges(runs)
    values = [[_over(run.predictions, score, metric, *bounds) for bounds in _pairs(edges)] for run in runs]
    return Curve(_middles(edges), _mean(np.array(values)))


def round_curve(runs: Sequence[Run], value: Callable[[Round], float | None]) -> Curve:
    """Return a value of rounds along the stream, as the mean of the rounds that begin in each bin.

    Args:
        runs: Of one arm.
        value: Of a round; None where it is not defined.
    """
    edges = _edges(runs)
    means = []
    for run in runs:
        found = [value(one) for one in run.rounds]
        number = np.array([np.nan if one is None else one for one in found], dtype=np.float64)
        first = np.array([one.first_row for one in run.rounds])
        means.append([_mean(number[(first >= low) & (first < high)]) for low, high in _pairs(edges)])
    return Curve(_middles(edges), _mean(np.array(means, dtype=np.float64)))


def _edges(runs: Sequence[Run]) -> list[int]:
    first = min(int(run.predictions.index[0]) for run in runs)
    last = max(int(run.predictions.index[-1]) for run in runs) + 1
    num_bins = max(1, min(MAX_BINS, (last - first) // MIN_BIN_ROWS))
    return [first + (last - first) * number // num_bins for number in range(num_bins + 1)]


def _pairs(edges: Sequence[int]) -> list[tuple[int, int]]:
    return list(itertools.pairwise(edges))


def _middles(edges: Sequence[int]) -> Doubles:
    return np.array([(low + high) / 2 for low, high in _pairs(edges)])


def _over(predictions: Predictions, score: str, metric: Metric, low: int, high: int) -> float:
    start, end = np.searchsorted(predictions.index, (low, high))
    values, label = getattr(predictions, score)[start:end], predictions.label[start:end]
    known = ~np.isnan(values)
    return metric(values[known], label[known])


def _mean(values: Doubles) -> Doubles:
    """Return the mean over the first axis of what is defined."""
    known = ~np.isnan(values)
    count = known.sum(axis=0)
    total = np.where(known, values, 0.0).sum(axis=0)
    return np.asarray(np.where(count > 0, total / np.maximum(count, 1), np.nan))
