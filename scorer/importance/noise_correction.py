"""Forward noise correction: labels that are wrong at known rates."""

import numpy as np

from scorer.importance.settings import ImportanceSettings
from scorer.importance.strategy import Doubles, ScoredRows, sigmoid

LARGEST_Z = 500.0
"""Logits are cut here, so that neither probability of a label becomes 0."""


def noise_corrected_weight(settings: ImportanceSettings, rows: ScoredRows) -> Doubles:
    """Return w = k * p / p~ for a click and k * (1 - p) / (1 - p~) for a non-click, p~ = rho10 + k * p; pi = budget.

    rho10 is the rate of false clicks, rho01 that of missed ones, k = 1 - rho10 - rho01. The weighted gradient is that
    of the log loss of p~, the probability of the label as it was seen (Patrini et al. 2017, arXiv:1609.03683): z
    learns the logit of the clean click rate if the rates are right, and as long as p is above about rho10 / 9, where
    the weight of a click meets the common lower bound. A surprising click is a false one or a drift; this strategy
    bets on false, so it follows a drift more slowly.
    """
    informative = 1 - settings.false_click_rate - settings.missed_click_rate
    z = np.clip(rows.z, -LARGEST_Z, LARGEST_Z)
    right_click, right_pass = informative * sigmoid(z), informative * sigmoid(-z)
    seen_click, seen_pass = settings.false_click_rate + right_click, settings.missed_click_rate + right_pass
    return np.where(rows.label > 0, right_click / seen_click, right_pass / seen_pass)
