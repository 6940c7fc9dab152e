"""Drift detectors: did the loss of the live version, or the click rate, change?"""

from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
from river.drift import ADWIN

from scorer.measures.log_loss import row_log_loss

Signal = Literal["loss", "rate"]
SIGNALS: tuple[Signal, ...] = get_args(Signal)

MAX_LOSS = 5.0
"""Nats at which a row's loss is cut: ADWIN's bound assumes values of a limited range."""


class DriftMonitor:
    """Two adaptive windows (ADWIN, Bifet and Gavalda 2007): over the rows' log losses and over their labels.

    Args:
        delta: Probability of a false alarm at any one test; smaller is calmer.
    """

    def __init__(self, delta: float = 0.002) -> None:
        # river's drift module carries no annotations.
        self._detectors: dict[Signal, Any] = {
            signal: ADWIN(delta=delta)  # type: ignore[no-untyped-call]
            for signal in SIGNALS
        }

    def add(self, z: npt.NDArray[np.float64], label: npt.NDArray[np.int8]) -> dict[Signal, int]:
        """Add rows in their order and return how many times each signal drifted among them."""
        values = {"loss": np.minimum(row_log_loss(z, label), MAX_LOSS) / MAX_LOSS, "rate": label.astype(np.float64)}
        return {signal: self._count(detector, values[signal]) for signal, detector in self._detectors.items()}

    def mean_loss(self) -> float:
        """Return the mean log loss, in nats, since the last drift of the loss."""
        return float(self._detectors["loss"].estimation) * MAX_LOSS

    def mean_rate(self) -> float:
        """Return the click rate since its last drift."""
        return float(self._detectors["rate"].estimation)

    @staticmethod
    def _count(detector: Any, values: npt.NDArray[np.float64]) -> int:
        drifts = 0
        for value in values.tolist():
            detector.update(value)
            drifts += int(detector.drift_detected)
        return drifts
