import numpy as np
import optuna
import pytest

from trainer.backtest.runs.predictions import Predictions
from trainer.tuning.search import SearchSpace, validation_auc

SPACE = SearchSpace(encoder_learning_rate=(1e-4, 1e-3), batch_rows=(16, 32), update_rows=(256,), budgets=(0.25, 1.0))


def predictions(z: np.ndarray, label: np.ndarray) -> Predictions:
    unknown = np.full(len(z), np.nan)
    return Predictions(
        index=np.arange(100, 100 + len(z)),
        label=label.astype(np.int8),
        z_live=z,
        z_frozen=unknown,
        z_served=unknown,
        click_probability=unknown,
    )


def test_the_present_settings_are_a_point_of_every_space(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MILLSTREAM_TRAINER_ENCODER_LEARNING_RATE", "0.02")
    monkeypatch.setenv("MILLSTREAM_SCORER_STRATEGY", "full")
    present = SPACE.present()
    assert present["encoder_learning_rate"] == 1e-3
    assert (present["update_rows"], present["budgets"]) == (256, 0.25)
    assert present["strategies"] in SPACE.strategies
    assert present.keys() == SPACE.draw(optuna.create_study().ask()).keys()


def test_only_the_validation_stretch_counts():
    label = np.tile([0, 1], 1_000)
    z = np.where(np.arange(2_000) < 1_000, -label, label).astype(float)
    assert validation_auc(predictions(z, label), first_row=1_100) == 1.0
    assert validation_auc(predictions(z, label), first_row=100) < 0.7
