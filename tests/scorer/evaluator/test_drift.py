import numpy as np
import pytest

from scorer.evaluator.drift import DriftMonitor


def rows(seed: int, num_rows: int, rate: float, said: float) -> tuple[np.ndarray, np.ndarray]:
    label = (np.random.default_rng(seed).random(num_rows) < rate).astype(np.int8)
    return np.full(num_rows, np.log(said / (1 - said))), label


def test_a_steady_stream_does_not_drift() -> None:
    assert DriftMonitor().add(*rows(0, 5_000, 0.15, 0.15)) == {"loss": 0, "rate": 0}


def test_a_click_rate_that_doubles_drifts() -> None:
    monitor = DriftMonitor()
    monitor.add(*rows(1, 3_000, 0.15, 0.15))
    assert monitor.add(*rows(2, 3_000, 0.30, 0.15))["rate"] >= 1
    assert monitor.mean_rate() == pytest.approx(0.30, abs=0.03)


def test_scores_that_turn_wrong_drift_in_loss_and_not_in_rate() -> None:
    monitor = DriftMonitor()
    monitor.add(*rows(3, 3_000, 0.15, 0.15))
    drifts = monitor.add(*rows(4, 3_000, 0.15, 0.7))
    assert drifts["loss"] >= 1
    assert drifts["rate"] == 0
    assert monitor.mean_loss() > 0.8


def test_one_infinite_looking_loss_is_no_drift() -> None:
    monitor = DriftMonitor()
    z, label = rows(5, 2_000, 0.15, 0.15)
    z[1_000], label[1_000] = -1e6, 1
    assert monitor.add(z, label)["loss"] == 0
