"""Reducible loss against a reference: learn first what the reference already knows."""

import numpy as np

from scorer.importance.settings import ImportanceSettings
from scorer.importance.strategy import Doubles, ScoredRows

MIN_WEIGHT, MAX_WEIGHT = 0.2, 5.0
"""Bounds of w: rows on which live and reference differ beyond reason say little about either."""


def reducible_loss_weight(settings: ImportanceSettings, rows: ScoredRows) -> Doubles:
    """Return w = clip(exp(s * l), 0.2, 5), l = log(r_y / p_y) = loss - loss of the reference; 1 without one.

    pi = budget. r_y and p_y are what reference and live version give to the label that came. The soft form of RHO-LOSS
    (Mindermann et al. 2022, arXiv:2206.07137). Where no weight is clipped, z learns (logit q + s * logit r) / (1 + s):
    this is distillation to the reference in logit space, biased unless r = q. The live reference is the frozen version,
    so rows without its score teach with weight 1; MILLSTREAM_SCORER_FROZEN_SHARE=1 lets it score every row.
    """
    if rows.reference_z is None:
        return np.ones(len(rows))
    reference_z = np.where(np.isfinite(rows.reference_z), rows.reference_z, rows.z)
    sign = np.where(rows.label > 0, -1.0, 1.0)
    reducible = np.logaddexp(0.0, sign * rows.z) - np.logaddexp(0.0, sign * reference_z)
    log_weight = np.clip(settings.reference_strength * reducible, np.log(MIN_WEIGHT), np.log(MAX_WEIGHT))
    return np.asarray(np.exp(log_weight))
