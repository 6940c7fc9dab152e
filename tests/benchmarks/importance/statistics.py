"""Paired differences, what may be concluded from them, and nothing that knows of arms.

Shape legend: S seeds, R rounds of a log, K resamples.
"""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.stats import ttest_1samp, wilcoxon

from scorer.measures.auc import Interval

Doubles = npt.NDArray[np.float64]

RESAMPLES = 10_000


def _resampled(size: int, seed: int) -> npt.NDArray[np.int64]:
    return np.random.default_rng(seed).integers(size, size=(RESAMPLES, size))


def _percentiles(estimate: float, draws_K: Doubles) -> Interval:
    low, high = np.quantile(draws_K, [0.025, 0.975])
    return Interval(float(estimate), float(low), float(high))


def paired_interval(difference_S: npt.ArrayLike, seed: int) -> Interval:
    """Return the mean of paired differences with its 95 % percentile bootstrap interval over seeds."""
    difference = np.asarray(difference_S, dtype=np.float64)
    return _percentiles(difference.mean(), difference[_resampled(len(difference), seed)].mean(axis=1))


def recovered_fraction(arm_S: npt.ArrayLike, low_S: npt.ArrayLike, high_S: npt.ArrayLike, seed: int) -> Interval | None:
    """Return (arm - low) / (high - low), each a mean over seeds, with its 95 % bootstrap interval.

    None where the gap's own interval does not exclude zero: a share of nothing says nothing.
    """
    gained = np.asarray(arm_S) - np.asarray(low_S)
    gap = np.asarray(high_S) - np.asarray(low_S)
    if paired_interval(gap, seed).low <= 0:
        return None
    chosen = _resampled(len(gap), seed)
    gap_K = gap[chosen].mean(axis=1)
    draws = gained[chosen].mean(axis=1)[gap_K > 0] / gap_K[gap_K > 0]
    return _percentiles(gained.mean() / gap.mean(), draws)


def signed_rank_p(difference_S: npt.ArrayLike) -> float:
    """Return the exact two-sided p of the Wilcoxon signed-rank test; at least 0.002 for ten seeds."""
    difference = np.asarray(difference_S, dtype=np.float64)
    return float(wilcoxon(difference).pvalue) if difference.any() else 1.0


def mean_p(difference_S: npt.ArrayLike) -> float:
    """Return the two-sided p of the paired t test."""
    difference = np.asarray(difference_S, dtype=np.float64)
    return float(ttest_1samp(difference, 0.0).pvalue) if difference.std() > 0 else 1.0


def holm(p: Sequence[float]) -> list[float]:
    """Return p values adjusted for all of them being looked at (Holm 1979), in the order given."""
    adjusted = [0.0] * len(p)
    worst = 0.0
    for rank, index in enumerate(sorted(range(len(p)), key=lambda index: p[index])):
        worst = max(worst, min(1.0, (len(p) - rank) * p[index]))
        adjusted[index] = worst
    return adjusted


def block_interval(gained_R: npt.ArrayLike, pairs_R: npt.ArrayLike, block: int, seed: int) -> Interval:
    """Return an AUC difference over time with its 95 % moving-block bootstrap interval (Kunsch 1989).

    Args:
        gained_R: Ordered pairs that one arm has more than the other, by round; a mean over seeds.
        pairs_R: All pairs, by round.
        block: Rounds that are drawn together.
        seed: Of the draws.
    """
    gained, pairs = np.asarray(gained_R, dtype=np.float64), np.asarray(pairs_R, dtype=np.float64)
    num_blocks = math.ceil(len(pairs) / block)
    starts = np.random.default_rng(seed).integers(len(pairs) - block + 1, size=(RESAMPLES, num_blocks, 1))
    chosen = (starts + np.arange(block)).reshape(RESAMPLES, -1)[:, : len(pairs)]
    draws = gained[chosen].sum(axis=1) / pairs[chosen].sum(axis=1)
    return _percentiles(gained.sum() / pairs.sum(), draws)
