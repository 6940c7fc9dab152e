"""The exact area under the ROC curve, with ties, and how sure one may be of it."""

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """An estimate with its confidence interval."""

    estimate: float
    low: float
    high: float


def auc(score: npt.ArrayLike, label: npt.ArrayLike) -> float:
    """Return the probability that a clicked row scores above one that was not, ties counting half.

    Args:
        score: Score, logit or probability of each row, shape [N]; only the order matters.
        label: 1 clicked, 0 not, shape [N].

    Returns:
        The exact AUC; NaN when one of the two classes is missing.

    Raises:
        ValueError: if the shapes differ or a score is NaN.
    """
    score_N, clicked_N = _checked(score, label)
    num_clicked = int(clicked_N.sum())
    num_pairs = num_clicked * (len(clicked_N) - num_clicked)
    if num_pairs == 0:
        return math.nan
    rank_sum = float(rankdata(score_N)[clicked_N].sum())
    return (rank_sum - num_clicked * (num_clicked + 1) / 2) / num_pairs


def within_group_auc(score: npt.ArrayLike, label: npt.ArrayLike, group: npt.ArrayLike) -> float:
    """Return the AUC over the pairs of rows that share a group, each pair counting the same.

    This is what a ranking feels: it says nothing of how well clicks of one query are told from those of another.

    Args:
        score: Score of each row, shape [N].
        label: 1 clicked, 0 not, shape [N].
        group: What rows must share to be compared, for example the query, shape [N].

    Returns:
        The AUC; NaN when no group holds both classes.
    """
    score_N, clicked_N = _checked(score, label)
    _, group_N = np.unique(np.asarray(group), return_inverse=True)
    if len(group_N) == 0:
        return math.nan
    # Groups are laid end to end: ranks inside a group are ranks overall less the number of rows in earlier groups.
    _, key_N = np.unique(score_N, return_inverse=True)
    rank_N = rankdata((group_N * (key_N.max() + 1) + key_N).astype(np.float64))
    num_rows_G = np.bincount(group_N)
    num_clicked_G = np.bincount(group_N, weights=clicked_N)
    rank_sum_G = np.bincount(group_N, weights=rank_N * clicked_N)
    rows_before_G = np.cumsum(num_rows_G) - num_rows_G
    ordered_G = rank_sum_G - num_clicked_G * rows_before_G - num_clicked_G * (num_clicked_G + 1) / 2
    num_pairs = float((num_clicked_G * (num_rows_G - num_clicked_G)).sum())
    return float(ordered_G.sum()) / num_pairs if num_pairs else math.nan


def delong_interval(score: npt.ArrayLike, label: npt.ArrayLike, *, confidence: float = 0.95) -> Interval:
    """Return the AUC with its confidence interval (DeLong, DeLong and Clarke-Pearson 1988), clipped to [0, 1].

    All three numbers are NaN when a class has fewer than two rows.
    """
    score_N, clicked_N = _checked(score, label)
    found = _interval([score_N], np.array([1.0]), clicked_N, confidence)
    return Interval(found.estimate, float(np.clip(found.low, 0, 1)), float(np.clip(found.high, 0, 1)))


def auc_difference_interval(
    score_a: npt.ArrayLike, score_b: npt.ArrayLike, label: npt.ArrayLike, *, confidence: float = 0.95
) -> Interval:
    """Return AUC(a) - AUC(b) on the same rows with its paired confidence interval (DeLong et al. 1988).

    Pairing matters: two versions of one model agree on most rows, so their difference is known far better than either
    AUC. All three numbers are NaN when a class has fewer than two rows.

    Args:
        score_a: Scores of the candidate, shape [N].
        score_b: Scores of what it is compared with, shape [N].
        label: 1 clicked, 0 not, shape [N].
        confidence: Probability that the interval covers the true difference.
    """
    a_N, clicked_N = _checked(score_a, label)
    b_N, _ = _checked(score_b, label)
    return _interval([a_N, b_N], np.array([1.0, -1.0]), clicked_N, confidence)


def _interval(scores: list[Floats], sign_S: Floats, clicked_N: npt.NDArray[np.bool_], confidence: float) -> Interval:
    """Return the sum of the scores' AUCs, each with its sign, and its interval; NaN where one class is too small."""
    estimates, covariance = _delong(scores, clicked_N)
    estimate = float(sign_S @ estimates)
    # Rounding can leave the variance of two equal scores a hair below zero.
    deviation = math.sqrt(max(0.0, float(sign_S @ covariance @ sign_S)))
    half = NormalDist().inv_cdf((1 + confidence) / 2) * deviation
    return Interval(estimate, estimate - half, estimate + half)


def _delong(scores: list[Floats], clicked_N: npt.NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Return the AUC of each score [S] and their covariance [S, S], by ranks (Sun and Xu 2014)."""
    num_clicked = int(clicked_N.sum())
    num_other = len(clicked_N) - num_clicked
    if min(num_clicked, num_other) < 2:
        size = len(scores)
        return np.full(size, math.nan), np.full((size, size), math.nan)
    # Placement of a clicked row: the share of the others it beats; of another row: the share of clicked rows above it.
    placement_SP = np.empty((len(scores), num_clicked))
    placement_SN = np.empty((len(scores), num_other))
    for index, score_N in enumerate(scores):
        rank_N = rankdata(score_N)
        placement_SP[index] = (rank_N[clicked_N] - rankdata(score_N[clicked_N])) / num_other
        placement_SN[index] = 1 - (rank_N[~clicked_N] - rankdata(score_N[~clicked_N])) / num_clicked
    covariance = np.atleast_2d(np.cov(placement_SP)) / num_clicked + np.atleast_2d(np.cov(placement_SN)) / num_other
    return placement_SP.mean(axis=1), covariance


def _checked(score: npt.ArrayLike, label: npt.ArrayLike) -> tuple[Floats, npt.NDArray[np.bool_]]:
    score_N = np.asarray(score, dtype=np.float64)
    label_N = np.asarray(label)
    if score_N.ndim != 1 or score_N.shape != label_N.shape:
        message = f"score has shape {score_N.shape} and label {label_N.shape}; give one score and one label a row"
        raise ValueError(message)
    if np.isnan(score_N).any():
        message = (
            f"{int(np.isnan(score_N).sum())} of {len(score_N)} scores are NaN; leave out rows that were not scored"
        )
        raise ValueError(message)
    return score_N, label_N == 1
