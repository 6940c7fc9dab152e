"""Progressive validation: how good scores were that were made before anything learned from their rows.

Rows are scores as logits z and labels; p(click) = sigmoid(z).
"""

import math

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def sigmoid(z: npt.ArrayLike) -> Floats:
    """Return p(click) of each logit, without overflow."""
    z_N = np.asarray(z, dtype=np.float64)
    return np.asarray(np.exp(-np.logaddexp(0.0, -z_N)), dtype=np.float64)


def row_log_loss(z: npt.ArrayLike, label: npt.ArrayLike) -> Floats:
    """Return the log loss of each row in nats, shape [N], computed from the logit."""
    z_N = np.asarray(z, dtype=np.float64)
    return np.asarray(np.logaddexp(0.0, z_N) - np.asarray(label) * z_N, dtype=np.float64)


def log_loss(z: npt.ArrayLike, label: npt.ArrayLike) -> float:
    """Return the mean log loss in nats; NaN without rows."""
    loss_N = row_log_loss(z, label)
    return float(loss_N.mean()) if len(loss_N) else math.nan


def normalized_entropy(z: npt.ArrayLike, label: npt.ArrayLike) -> float:
    """Return log loss divided by the entropy of the click rate (He et al. 2014): below 1 beats always saying the rate.

    NaN when one of the two classes is missing.
    """
    label_N = np.asarray(label)
    rate = float(label_N.mean()) if len(label_N) else 0.0
    if not 0.0 < rate < 1.0:
        return math.nan
    return log_loss(z, label_N) / -(rate * math.log(rate) + (1 - rate) * math.log(1 - rate))


def calibration(z: npt.ArrayLike, label: npt.ArrayLike) -> float:
    """Return the mean score divided by the observed click rate: 1 is right, above 1 promises too much.

    NaN without a click.
    """
    num_clicks = float(np.asarray(label).sum())
    return float(sigmoid(z).sum()) / num_clicks if num_clicks else math.nan
