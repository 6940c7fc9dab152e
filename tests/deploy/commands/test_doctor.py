from pathlib import Path

import pytest
from typer.testing import CliRunner

from deploy.commands.doctor import FAILED, app
from deploy.local_kafka.broker import free_port


def test_what_fails_is_marked_with_its_remedy_and_exits_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MILLSTREAM_HOME", str(tmp_path))
    monkeypatch.setenv("MILLSTREAM_KAFKA_BOOTSTRAP", f"127.0.0.1:{free_port()}")
    result = CliRunner().invoke(app, [])

    assert result.exit_code == FAILED
    assert "FAIL  cluster" in result.output
    assert "millstream kafka up" in result.output
    assert "millstream models init" in result.output
