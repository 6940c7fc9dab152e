"""What every test may rely on: signals as in a terminal, a home of its own, and, if marked `kafka`, a real Kafka."""

import os
import signal
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local_kafka.broker import LocalKafka, free_port
from stream.cluster.admin import apply_topics
from stream.settings import KafkaSettings


@pytest.fixture(scope="session", autouse=True)
def _foreground() -> None:
    """Let SIGINT interrupt: a shell starts what it runs in the background with SIGINT ignored, children included."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def _home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep state away from this user's: a Millstream that runs here holds the locks of its own."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("MILLSTREAM_HOME", str(tmp_path_factory.mktemp("home")))
        yield


@pytest.fixture(scope="session")
def kafka_cluster(tmp_path_factory: pytest.TempPathFactory):
    """host:port of a real Kafka: the one named by MILLSTREAM_KAFKA_BOOTSTRAP, else one started for the session."""
    if bootstrap := os.environ.get("MILLSTREAM_KAFKA_BOOTSTRAP"):
        yield bootstrap
        return
    home: Path = tmp_path_factory.mktemp("kafka")
    with LocalKafka(home, free_port()) as broker:
        yield broker.bootstrap


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB, where this user may mount one."""
    place = tmp_path / "tiny-disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(place)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"this user may not mount a file system: {mounted.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


@pytest.fixture
def kafka(kafka_cluster: str) -> KafkaSettings:
    """Settings with a prefix of this test's own, two partitions, and every topic created."""
    settings = KafkaSettings(bootstrap=kafka_cluster, topic_prefix=f"test-{uuid.uuid4().hex[:12]}.", partitions=2)
    apply_topics(settings)
    return settings
