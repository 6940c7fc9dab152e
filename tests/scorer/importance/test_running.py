import numpy as np
import pytest

from scorer.importance.running import RunningMean


def test_until_the_horizon_it_is_the_plain_mean():
    rows = np.random.default_rng(0).random(1000)
    mean = RunningMean(horizon=1000)
    for part in np.array_split(rows, 7):
        mean.update(part)
    assert mean.value == pytest.approx(rows.mean())


def test_beyond_the_horizon_it_forgets():
    mean = RunningMean(horizon=100)
    mean.update(np.ones(100))
    for _ in range(50):
        mean.update(np.zeros(10))
    assert mean.value == pytest.approx(0.9**50)


def test_no_rows_change_nothing():
    mean = RunningMean()
    mean.update(np.array([]))
    assert (mean.value, mean.count) == (0.0, 0.0)
