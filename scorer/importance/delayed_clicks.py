"""Fake-negative weighting: labels that are sent before their click can have come."""

import numpy as np

from scorer.importance.strategy import Doubles, ScoredRows, sigmoid


def fake_negative_weight(rows: ScoredRows) -> Doubles:
    """Return w = 1 + p for a click and (1 - p) * (1 + p) for a non-click; pi = budget.

    For the label join's early-negative mode (MILLSTREAM_JOIN_EARLY_NEGATIVE), in which every impression comes as a
    non-click at once and every click comes again as a positive (revision 1): the weights undo the fake negatives, and
    z learns logit q (Ktena et al. 2019, arXiv:1907.06558). With the usual labels, of which none is fake, p would
    become q / (1 - q): choose it together with that mode only.
    """
    p = sigmoid(rows.z)
    return np.where(rows.label > 0, 1 + p, (1 - p) * (1 + p))
