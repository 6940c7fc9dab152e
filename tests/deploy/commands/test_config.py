import json

import pytest
from typer.testing import CliRunner

from deploy.commands.config import app


@pytest.fixture(autouse=True)
def _settings(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MILLSTREAM_KAFKA_PARTITIONS", "7")
    monkeypatch.setenv("MILLSTREAM_KAFKA_SASL_PASSWORD", "hunter2")


def test_what_was_changed_is_shown_with_where_and_without_secrets():
    shown = CliRunner().invoke(app, ["--changed"]).output

    assert "MILLSTREAM_KAFKA_PARTITIONS=7  (environment)" in shown
    assert "MILLSTREAM_KAFKA_SASL_PASSWORD=(hidden)  (environment)" in shown
    assert "MILLSTREAM_JOIN_WINDOW_SECONDS" not in shown


def test_a_program_reads_the_same():
    told = json.loads(CliRunner().invoke(app, ["--json"]).output)

    assert {"name": "MILLSTREAM_KAFKA_PARTITIONS", "value": 7, "origin": "environment"} in told["settings"]
    assert "hunter2" not in json.dumps(told)
