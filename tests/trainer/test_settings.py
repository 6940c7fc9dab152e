import pytest
from pydantic import ValidationError

from trainer.settings import GateSettings, TrainerSettings


def test_settings_come_from_the_environment(monkeypatch):
    monkeypatch.setenv("MILLSTREAM_TRAINER_UPDATE_ROWS", "1024")
    monkeypatch.setenv("MILLSTREAM_GATE_MIN_CLICKS", "50")
    assert TrainerSettings().update_rows == 1024
    assert GateSettings().min_clicks == 50


def test_replay_is_off_by_default():
    assert TrainerSettings().replay_share == 0.0


@pytest.mark.parametrize("wrong", [{"replay_share": 0.9}, {"update_rows": 0}, {"keep_checkpoints": 1}])
def test_values_out_of_bounds_are_refused(wrong):
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        TrainerSettings(**wrong)
