from pathlib import Path

import pytest
from pydantic import ValidationError

from scorer.evaluator.settings import EvaluatorSettings


def test_the_snapshot_is_kept_in_the_state_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MILLSTREAM_HOME", str(tmp_path))
    assert EvaluatorSettings().state() == tmp_path / "evaluator"


def test_another_directory_may_be_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MILLSTREAM_EVALUATOR_DIRECTORY", str(tmp_path / "elsewhere"))
    assert EvaluatorSettings().state() == tmp_path / "elsewhere"


def test_a_certain_false_alarm_is_refused() -> None:
    with pytest.raises(ValidationError, match="drift_delta"):
        EvaluatorSettings(drift_delta=1.0)
