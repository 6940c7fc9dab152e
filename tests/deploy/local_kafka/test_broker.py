import os
import signal
import socket
import subprocess
import sys
import uuid
from pathlib import Path

import psutil
import pytest

from deploy.local_kafka.broker import LocalKafka, cluster_answers, free_port
from deploy.local_kafka.distribution import LocalKafkaError
from stream.cluster.admin import apply_topics
from stream.settings import KafkaSettings


@pytest.fixture
def broker(tmp_path: Path):
    broker = LocalKafka(tmp_path / "kafka", free_port())
    yield broker
    broker.stop()


@pytest.mark.kafka
def test_a_started_broker_answers_and_a_stopped_one_is_gone(broker: LocalKafka):
    assert broker.start()
    status = broker.status()
    assert status is not None
    assert status.bootstrap == broker.bootstrap
    assert cluster_answers(broker.bootstrap)

    assert broker.stop()
    assert broker.status() is None
    assert not psutil.pid_exists(status.pid)


@pytest.mark.kafka
def test_starting_and_stopping_are_idempotent_and_the_log_is_kept(broker: LocalKafka):
    assert broker.start()
    assert not broker.start()
    assert broker.stop()
    assert not broker.stop()
    assert "shut down" in (broker.logs / "server.log").read_text()


@pytest.mark.kafka
def test_a_random_cluster_id_may_begin_with_a_dash(broker: LocalKafka, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(uuid, "uuid4", lambda: uuid.UUID("f8" * 16))

    assert broker.start()
    assert "cluster.id=-" in (broker.logs.parent / "data" / "meta.properties").read_text()


def test_an_interrupt_while_the_broker_is_being_started_leaves_none_behind(
    broker: LocalKafka, monkeypatch: pytest.MonkeyPatch
):
    born = []

    class Interrupted(subprocess.Popen):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            born.append(self.pid)
            os.kill(os.getpid(), signal.SIGINT)

    # Any process will do: what counts is the moment of its birth.
    broker.logs.mkdir(parents=True)
    monkeypatch.setattr("deploy.local_kafka.broker.find_distribution", lambda **_: None)
    monkeypatch.setattr(broker, "_configure", lambda _distribution: None)
    monkeypatch.setattr(broker, "_java", lambda *_: [sys.executable, "-c", "import time; time.sleep(600)"])
    monkeypatch.setattr(subprocess, "Popen", Interrupted)
    with pytest.raises(KeyboardInterrupt):
        broker.start()
    assert len(born) == 1
    assert not psutil.pid_exists(born[0])


@pytest.mark.kafka
def test_data_survives_kill_and_restart(broker: LocalKafka):
    broker.start()
    kafka = KafkaSettings(bootstrap=broker.bootstrap)
    created = apply_topics(kafka)
    status = broker.status()
    assert status is not None
    os.kill(status.pid, signal.SIGKILL)
    os.waitpid(status.pid, 0)

    assert broker.start()
    assert created
    assert apply_topics(kafka) == []


@pytest.mark.kafka
def test_a_second_object_of_the_same_home_finds_the_running_broker(broker: LocalKafka, tmp_path: Path):
    broker.start()

    assert not LocalKafka(tmp_path / "kafka", int(broker.bootstrap.rsplit(":", 1)[1])).start()
    with pytest.raises(LocalKafkaError, match="already runs on port"):
        LocalKafka(tmp_path / "kafka", free_port()).start()


def test_a_taken_port_is_named_with_the_remedy(tmp_path: Path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        with pytest.raises(LocalKafkaError, match=rf"port {port} is taken.*MILLSTREAM_KAFKA_BOOTSTRAP"):
            LocalKafka(tmp_path, port).start()


def test_a_pid_file_that_names_another_process_is_not_believed(tmp_path: Path):
    (tmp_path / "kafka.pid").write_text(f"{os.getpid()}\n")
    broker = LocalKafka(tmp_path, free_port())

    assert broker.status() is None
    assert not broker.stop()


def test_nothing_answers_on_a_free_port():
    assert not cluster_answers(f"127.0.0.1:{free_port()}")
