import tomllib
from pathlib import Path

import pytest

from trainer.settings import TrainerSettings
from trainer.tuning.settings_file import write_settings_file


def test_the_trainer_reads_what_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "tuned.toml"
    write_settings_file(path, {"trainer": {"batch_rows": 64, "encoder_learning_rate": 1e-3}}, ["chosen"])
    monkeypatch.setenv("MILLSTREAM_CONFIG", str(path))
    settings = TrainerSettings()
    assert (settings.batch_rows, settings.encoder_learning_rate) == (64, 1e-3)
    assert path.read_text().startswith("# chosen\n")


def test_what_the_present_file_says_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    present, path = tmp_path / "present.toml", tmp_path / "tuned.toml"
    present.write_text("[trainer]\nbatch_rows = 16\nseed = 3\n[join]\nwindow_seconds = 60.0\n")
    monkeypatch.setenv("MILLSTREAM_CONFIG", str(present))
    write_settings_file(path, {"trainer": {"batch_rows": 64}}, [])
    assert tomllib.loads(path.read_text()) == {
        "trainer": {"batch_rows": 64, "seed": 3},
        "join": {"window_seconds": 60.0},
    }


def test_no_settings_are_overwritten(tmp_path: Path):
    path = tmp_path / "tuned.toml"
    path.write_text("[trainer]\nseed = 3\n")
    with pytest.raises(ValueError, match=r"tuned\.toml exists"):
        write_settings_file(path, {}, [])
    assert path.read_text() == "[trainer]\nseed = 3\n"
