"""Two versions on the same rows."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from scorer.measures.auc import auc
from scorer.measures.log_loss import row_log_loss

Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Compared:
    """Live minus frozen on rows that both scored.

    Attributes:
        num_rows: How many.
        num_pairs: Pairs of a clicked row and one that was not.
        auc: Difference of AUC; 0 without a pair.
        log_loss: Difference of mean log loss, in nats; 0 without a row.
    """

    num_rows: int
    num_pairs: int
    auc: float
    log_loss: float


def compared(z_live: Doubles, z_frozen: Doubles, label: Doubles) -> Compared:
    """Compare logits of the same rows, all of shape [N]; rows with a logit that is not finite are left out."""
    usable = np.isfinite(z_live) & np.isfinite(z_frozen)
    z_live, z_frozen, label = z_live[usable], z_frozen[usable], label[usable]
    num_clicks = int(label.sum())
    num_pairs = num_clicks * (len(label) - num_clicks)
    return Compared(
        len(label),
        num_pairs,
        auc(z_live, label) - auc(z_frozen, label) if num_pairs else 0.0,
        float((row_log_loss(z_live, label) - row_log_loss(z_frozen, label)).mean()) if len(label) else 0.0,
    )
