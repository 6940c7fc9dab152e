"""What a tally says: AUC by round and window, calibration, recovery."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Result = dict[str, Any]


def progressive_auc(result: Result) -> float:
    """Return the primary measure: the mean over rounds of the AUC inside a round, weighted by its pairs."""
    return math.fsum(result["ordered"]) / math.fsum(result["pairs"])


def clean_auc(result: Result) -> float:
    """Return the same, expected over labels drawn from the true probabilities; NaN where nobody knows them."""
    pairs = math.fsum(result["clean_pairs"])
    return math.fsum(result["clean_ordered"]) / pairs if pairs else math.nan


def normalized_entropy(result: Result) -> float:
    """Return log loss over the entropy of the click rate of the whole run."""
    rate = sum(result["clicks"]) / result["rows"]
    entropy = -(rate * math.log(rate) + (1 - rate) * math.log(1 - rate))
    return math.fsum(result["loss"]) / result["rows"] / entropy


def calibration(result: Result) -> float:
    """Return promised over observed clicks."""
    return math.fsum(result["promised"]) / sum(result["clicks"])


def windows(clicks_R: Sequence[int], least: int) -> list[slice]:
    """Return consecutive rounds cut where a window holds enough clicks; a rest joins the last one."""
    found: list[slice] = []
    start, held = 0, 0
    for number, clicks in enumerate(clicks_R):
        held += clicks
        if held >= least:
            found.append(slice(start, number + 1))
            start, held = number + 1, 0
    if held and found:
        found[-1] = slice(found[-1].start, len(clicks_R))
    return found


def window_auc(result: Result, least_clicks: int) -> npt.NDArray[np.float64]:
    """Return the AUC of each window, over pairs of rows of one round."""
    return np.array(
        [
            sum(result["ordered"][window]) / sum(result["pairs"][window])
            for window in windows(result["clicks"], least_clicks)
        ]
    )


def recovery_rounds(result: Result, full: Result, turn: int, trailing: int = 5) -> int:
    """Return the rounds after a turn until the arm is back, by the AUC against true probabilities.

    Back is 95 % of the way from the AUC of `full` right after the turn to where `full` is in the last quarter of the
    rounds after it, held by the mean of some trailing rounds; the number of rounds left when that never comes.
    """
    ends = _by_round(full)[turn:]
    low, high = ends[0], float(ends[-len(ends) // 4 :].mean())
    target = low + 0.95 * (high - low)
    own = _by_round(result)[turn:]
    means = np.convolve(own, np.ones(trailing) / trailing, mode="valid")
    reached = np.flatnonzero(means >= target)
    return int(reached[0]) + trailing if len(reached) else len(own)


def _by_round(result: Result) -> npt.NDArray[np.float64]:
    return np.array(result["clean_ordered"]) / np.array(result["clean_pairs"])
