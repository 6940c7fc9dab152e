import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from deploy.commands.kafka import NOT_RUNNING, app
from deploy.local_kafka.broker import free_port
from stream.cluster.admin import ClusterError


@pytest.fixture(autouse=True)
def _own_state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("MILLSTREAM_HOME", str(tmp_path))
    monkeypatch.delenv("MILLSTREAM_KAFKA_BOOTSTRAP", raising=False)


def test_status_without_a_broker_exits_3_and_says_how_to_start_one():
    result = CliRunner().invoke(app, ["status"])

    assert result.exit_code == NOT_RUNNING
    assert "millstream kafka up" in result.output


def test_status_is_read_by_programs(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MILLSTREAM_KAFKA_BOOTSTRAP", f"127.0.0.1:{free_port()}")

    result = CliRunner().invoke(app, ["status", "--json"])

    assert result.exit_code == NOT_RUNNING
    assert json.loads(result.output)["answers"] is False


def test_down_without_a_broker_is_no_error():
    result = CliRunner().invoke(app, ["down"])

    assert result.exit_code == 0
    assert "no local Kafka was running" in result.output


def start_as_an_operator_does(*options: str) -> subprocess.CompletedProcess[str]:
    """Run `millstream kafka up` as a process of its own: the broker outlives it."""
    arguments = [sys.executable, "-m", "deploy", "kafka", "up", *options]
    return subprocess.run(arguments, capture_output=True, text=True, check=False)


@pytest.mark.kafka
def test_up_status_and_down_follow_one_broker(monkeypatch: pytest.MonkeyPatch):
    runner, port = CliRunner(), free_port()
    try:
        up = start_as_an_operator_does("--port", str(port))
        again = runner.invoke(app, ["up", "--port", str(port)])
        monkeypatch.setenv("MILLSTREAM_KAFKA_BOOTSTRAP", f"127.0.0.1:{port}")
        as_told = runner.invoke(app, ["up"])
        runner.invoke(app, ["down"])
        restarted = start_as_an_operator_does()
        monkeypatch.delenv("MILLSTREAM_KAFKA_BOOTSTRAP")
        status = runner.invoke(app, ["status"])
    finally:
        down = runner.invoke(app, ["down"])

    assert up.returncode == 0
    assert f"export MILLSTREAM_KAFKA_BOOTSTRAP=127.0.0.1:{port}" in up.stdout
    assert "was running already" in again.output
    assert "was running already" in as_told.output
    assert f"Kafka answers on 127.0.0.1:{port}" in restarted.stdout
    assert status.exit_code == 0
    assert f"Kafka answers on 127.0.0.1:{port}" in status.output
    assert "its data stays" in down.output
    assert runner.invoke(app, ["status"]).exit_code == NOT_RUNNING


@pytest.mark.kafka
def test_a_named_cluster_is_used_and_none_is_started(kafka_cluster: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MILLSTREAM_KAFKA_BOOTSTRAP", kafka_cluster)

    up = CliRunner().invoke(app, ["up"])

    assert up.exit_code == 0
    assert f"answers on {kafka_cluster}; none is started" in up.output
    assert CliRunner().invoke(app, ["status"]).exit_code == 0


def test_a_named_cluster_that_does_not_answer_is_an_error(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MILLSTREAM_KAFKA_BOOTSTRAP", "nobody.invalid:9092")

    assert isinstance(CliRunner().invoke(app, ["up"]).exception, ClusterError)
