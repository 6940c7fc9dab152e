"""The real Kafka that tests marked `kafka` run on."""

import os
import uuid
from pathlib import Path

import pytest

from deploy.local_kafka import LocalKafka, free_port
from stream.settings import KafkaSettings
from stream.topic_admin import apply_topics


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
def kafka(kafka_cluster: str) -> KafkaSettings:
    """Settings with a prefix of this test's own, two partitions, and every topic created."""
    settings = KafkaSettings(bootstrap=kafka_cluster, topic_prefix=f"test-{uuid.uuid4().hex[:12]}.", partitions=2)
    apply_topics(settings)
    return settings
