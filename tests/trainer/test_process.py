import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from scorer.registry.registry import ModelRegistry
from stream.cluster.releases import ReleaseFollower
from stream.disk.directory_lock import DirectoryBusyError
from tests.trainer.plans.test_source import write_log
from tests.trainer.rig import TINY_SETTINGS, Rig, recorded_log
from trainer.metrics import TrainerMetrics
from trainer.process import kafka_publisher, live_start, run_trainer, sole_writer
from trainer.promotion.commands import send_command
from trainer.settings import GateSettings, TrainerSettings
from trainer.state.checkpoint import load_latest
from trainer.state.ledger import read_ledger

SETTINGS = TrainerSettings(update_rows=64, batch_rows=8, warmup_steps=4, update_seconds=0.5)
GATE = GateSettings(min_clicks=10)


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A state directory with a tiny model line, as the rig makes it."""
    Rig(tmp_path, ())
    monkeypatch.setenv("MILLSTREAM_HOME", str(tmp_path))
    return tmp_path


def trainer_process(kafka, home, failpoint=""):
    environment = os.environ | {
        "MILLSTREAM_HOME": str(home),
        "MILLSTREAM_KAFKA_BOOTSTRAP": kafka.bootstrap,
        "MILLSTREAM_KAFKA_TOPIC_PREFIX": kafka.topic_prefix,
        "MILLSTREAM_KAFKA_PARTITIONS": "2",
        "MILLSTREAM_METRICS_PORT": "0",
        "MILLSTREAM_MODEL_MAX_QUERY_TOKENS": "8",
        "MILLSTREAM_MODEL_MAX_ITEM_TOKENS": "16",
        "MILLSTREAM_MODEL_MAX_TOKENS": "40",
        "MILLSTREAM_TRAINER_UPDATE_ROWS": "64",
        "MILLSTREAM_TRAINER_BATCH_ROWS": "8",
        "MILLSTREAM_TRAINER_UPDATE_SECONDS": "0.5",
        "MILLSTREAM_GATE_MIN_CLICKS": "10",
        "MILLSTREAM_FAILPOINT": failpoint,
        "OMP_NUM_THREADS": "1",
    }
    return subprocess.Popen(
        [sys.executable, "-m", "trainer"],
        env=environment,
        cwd=Path(__file__).parents[2],
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_offsets(process, home, records):
    ends = {p: sum(record.partition == p for record in records) for p in (0, 1)}
    while load_latest(home / "trainer").state.offsets != ends:
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.1)


def test_two_trainers_never_share_a_directory(tmp_path):
    with sole_writer(tmp_path), pytest.raises(DirectoryBusyError, match="MILLSTREAM_HOME"), sole_writer(tmp_path):
        pass


@pytest.mark.kafka
def test_the_loop_learns_and_promotes_on_real_kafka(kafka, home):
    records = recorded_log(300)
    write_log(kafka, records)
    ends = {p: sum(record.partition == p for record in records) for p in (0, 1)}
    metrics = TrainerMetrics(CollectorRegistry())
    run_trainer(
        kafka,
        TINY_SETTINGS,
        SETTINGS,
        GATE,
        metrics,
        stop=lambda: load_latest(home / "trainer").state.offsets == ends,
    )
    with closing(ReleaseFollower(kafka)) as follower:
        champion = follower.catch_up()["champion"]
    registry = ModelRegistry(home / "registry")
    assert champion.version == registry.alias("champion")
    assert champion.digest == registry.digest(champion.version)
    assert champion.gate.decision == "promote"
    assert read_ledger(home / "trainer").num_rows == sum(len(record.rows) for record in records)


@pytest.mark.kafka
def test_a_new_line_starts_where_the_settings_say(kafka):
    records = recorded_log(100)
    write_log(kafka, records)
    assert live_start(kafka, TrainerSettings()).offsets == {0: 0, 1: 0}
    assert sum(live_start(kafka, TrainerSettings(start="end")).offsets.values()) == len(records)


@pytest.mark.kafka
def test_the_publisher_knows_what_was_announced_before(kafka, home):
    registry = ModelRegistry(home / "registry")
    assert set(kafka_publisher(kafka, registry).announce_missing("promoted")) == {"champion", "frozen"}
    assert kafka_publisher(kafka, registry).announce_missing("promoted") == []


@pytest.mark.kafka
@pytest.mark.slow
def test_a_killed_trainer_goes_on_obeys_commands_and_drains_on_sigterm(kafka, home):
    records = recorded_log(300)
    write_log(kafka, records)
    killed = trainer_process(kafka, home, "ledger_written:3")
    _, errors = killed.communicate(timeout=300)
    assert killed.returncode == -signal.SIGKILL, errors
    process = trainer_process(kafka, home)
    try:
        wait_for_offsets(process, home, records)
        answer = send_command(kafka, "pause", timeout_seconds=60)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert answer.done
    assert process.returncode == 0, errors
    ledger = read_ledger(home / "trainer")
    assert ledger.num_rows == sum(len(record.rows) for record in records)
    assert load_latest(home / "trainer").state.paused


@pytest.mark.kafka
@pytest.mark.slow
def test_a_configuration_error_is_one_clear_line(kafka, tmp_path):
    process = trainer_process(kafka, tmp_path)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 2
    assert "millstream models init" in errors.splitlines()[-1]
    assert "Traceback" not in errors
