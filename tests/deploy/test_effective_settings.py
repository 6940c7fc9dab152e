from pathlib import Path

import pytest

from deploy.effective_settings import Setting, effective_settings


def test_every_setting_is_shown_with_where_it_comes_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    file = tmp_path / "millstream.toml"
    file.write_text("[join]\nwindow_seconds = 5\n[kafka]\nsasl_password = 'hunter2'\n")
    monkeypatch.setenv("MILLSTREAM_CONFIG", str(file))
    monkeypatch.setenv("MILLSTREAM_MODEL_NUMERIC", "price,rating")
    settings = {setting.name: setting for setting in effective_settings()}

    assert settings["MILLSTREAM_JOIN_WINDOW_SECONDS"] == Setting("MILLSTREAM_JOIN_WINDOW_SECONDS", 5.0, "file")
    assert settings["MILLSTREAM_MODEL_NUMERIC"].value == ["price", "rating"]
    assert settings["MILLSTREAM_MODEL_NUMERIC"].origin == "environment"
    assert settings["MILLSTREAM_TRAINER_SEED"].origin == "default"
    assert settings["MILLSTREAM_KAFKA_SASL_PASSWORD"] == Setting("MILLSTREAM_KAFKA_SASL_PASSWORD", "(hidden)", "file")
    assert "hunter2" not in repr(settings)
