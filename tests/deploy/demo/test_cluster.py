from pathlib import Path

import pytest
from kafka import KafkaProducer

from deploy.demo.cluster import READERS, backlog, demo_cluster, wait_until_drained
from deploy.local_kafka.broker import cluster_answers
from stream.settings import KafkaSettings
from stream.topics import TopicKind, topic_name
from tests.deploy.recorded_run import commit


def send(kafka: KafkaSettings, kind: TopicKind, partition: int, count: int) -> None:
    producer = KafkaProducer(**kafka.client_options())
    for _ in range(count):
        producer.send(topic_name(kind, kafka), value=b"record", partition=partition).get(timeout=30)
    producer.close()


def test_the_cluster_that_the_environment_names_is_used_and_none_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MILLSTREAM_KAFKA_BOOTSTRAP", "broker:9092")
    with demo_cluster(tmp_path) as bootstrap:
        assert bootstrap == "broker:9092"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.kafka
def test_without_one_a_local_kafka_lives_as_long_as_the_demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("MILLSTREAM_KAFKA_BOOTSTRAP", raising=False)
    with demo_cluster(tmp_path) as bootstrap:
        assert cluster_answers(bootstrap)
    assert not cluster_answers(bootstrap)


@pytest.mark.kafka
def test_a_group_that_has_committed_nothing_has_everything_before_it(kafka: KafkaSettings):
    send(kafka, "events", 0, 3)
    send(kafka, "events", 1, 2)
    assert backlog(kafka, list(READERS)) == {"stream": 5, "scorer": 0, "trainer": 0}


@pytest.mark.kafka
def test_the_backlog_is_what_a_group_has_not_committed_of_the_topic_it_reads(kafka: KafkaSettings):
    send(kafka, "labeled-impressions", 0, 3)
    commit(kafka, "scorer", "labeled-impressions", {0: 2})
    assert backlog(kafka, ["scorer"]) == {"scorer": 1}


@pytest.mark.kafka
def test_all_committed_is_drained(kafka: KafkaSettings):
    send(kafka, "events", 1, 2)
    commit(kafka, "stream", "events", {0: 0, 1: 2})
    assert wait_until_drained(kafka, ["stream", "trainer"]) == {"stream": 0, "trainer": 0}


@pytest.mark.kafka
def test_waiting_ends_after_its_time_and_says_what_is_left(kafka: KafkaSettings):
    send(kafka, "weighted-examples", 0, 1)
    assert wait_until_drained(kafka, ["stream", "trainer"], seconds=0.1) == {"stream": 0, "trainer": 1}
