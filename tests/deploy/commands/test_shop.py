import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from deploy.commands.shop import app
from stream.play.ledger import read_producer_ledger
from stream.settings import KafkaSettings

runner = CliRunner()


@pytest.fixture
def _quick_shop(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MILLSTREAM_JOIN_WINDOW_SECONDS", "1")
    monkeypatch.setenv("MILLSTREAM_SHOP_CLICK_SECONDS", "0.5")
    monkeypatch.setenv("MILLSTREAM_SHOP_LATE_CLICK_SECONDS", "1.5")
    monkeypatch.setenv("MILLSTREAM_METRICS_PORT", "0")


@pytest.mark.usefixtures("_quick_shop")
def test_the_past_is_written_to_a_log(tmp_path: Path):
    result = runner.invoke(app, ["simulate", "--history-rows", "60", "--write-past", str(tmp_path / "past.jsonl")])

    assert result.exit_code == 0, result.output
    assert f"events to {tmp_path / 'past.jsonl'}" in result.output
    assert (tmp_path / "past.jsonl").read_text().count('"type":"impression"') == 60


@pytest.mark.kafka
@pytest.mark.usefixtures("_quick_shop")
def test_a_past_that_is_replayed_gives_exact_counts_and_a_ledger(
    kafka: KafkaSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MILLSTREAM_KAFKA_BOOTSTRAP", kafka.bootstrap)
    monkeypatch.setenv("MILLSTREAM_KAFKA_TOPIC_PREFIX", kafka.topic_prefix)
    log, ledger = tmp_path / "past.jsonl", tmp_path / "ledger.parquet"
    runner.invoke(app, ["simulate", "--history-rows", "60", "--write-past", str(log)])

    result = runner.invoke(app, ["replay", str(log), "--speed", "1000", "--limit", "50", "--ledger", str(ledger)])

    assert result.exit_code == 0, result.output
    assert "impressions            50" in result.output
    assert read_producer_ledger(ledger).column("kind").to_pylist().count("impression") == 50


@pytest.mark.kafka
def test_a_shop_plays_without_any_setting(kafka: KafkaSettings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    for name, value in {"BOOTSTRAP": kafka.bootstrap, "TOPIC_PREFIX": kafka.topic_prefix}.items():
        monkeypatch.setenv(f"MILLSTREAM_KAFKA_{name}", value)
    monkeypatch.setenv("MILLSTREAM_METRICS_PORT", "0")
    ledger = tmp_path / "ledger.parquet"
    result = runner.invoke(app, ["simulate", "--limit", "60", "--json", "--ledger", str(ledger)])

    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert (told["impressions"], told["failed"], told["ledger"]) == (60, 0, str(ledger))
    assert "no late clicks: the attribution window is 1800 s" in result.stderr
