import pytest
from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType

from deploy.local_kafka.broker import free_port
from stream.cluster.admin import ClusterError, apply_topics, check_topics
from stream.settings import JoinSettings, KafkaSettings
from stream.topics import topic_name, topic_table


@pytest.mark.kafka
def test_every_topic_of_the_table_is_created(kafka: KafkaSettings):
    admin = KafkaAdminClient(**kafka.client_options())
    try:
        assert {topic.name for topic in topic_table(kafka).values()} <= set(admin.list_topics())
    finally:
        admin.close()


@pytest.mark.kafka
def test_topics_just_applied_have_no_problem(kafka: KafkaSettings):
    assert check_topics(kafka, JoinSettings()) == []


@pytest.mark.kafka
def test_applying_twice_creates_nothing(kafka: KafkaSettings):
    assert apply_topics(kafka) == []


@pytest.mark.kafka
def test_missing_topics_are_named_with_the_remedy(kafka: KafkaSettings):
    other = kafka.model_copy(update={"topic_prefix": "nobody."})

    problems = check_topics(other, JoinSettings())

    assert len(problems) == len(topic_table(other))
    assert "topics apply" in str(problems[0])


@pytest.mark.kafka
def test_another_partition_count_is_a_problem(kafka: KafkaSettings):
    problems = check_topics(kafka.model_copy(update={"partitions": 3}), JoinSettings())

    assert [problem.topic for problem in problems] == [
        topic_name(kind, kafka) for kind in ("events", "labeled-impressions", "weighted-examples", "dead-letters")
    ]
    assert "2 partitions, not 3" in problems[0].what


@pytest.mark.kafka
def test_a_longer_retention_than_the_settings_is_no_problem(kafka: KafkaSettings):
    assert check_topics(kafka.model_copy(update={"retention_hours": 1.5}), JoinSettings()) == []


@pytest.mark.kafka
def test_a_shorter_retention_than_the_settings_is_a_problem(kafka: KafkaSettings):
    problems = check_topics(kafka.model_copy(update={"retention_hours": 100}), JoinSettings())

    assert "retention.ms is 172800000, less than 360000000" in problems[0].what
    assert "MILLSTREAM_KAFKA_RETENTION_HOURS" in problems[0].remedy


@pytest.mark.kafka
@pytest.mark.parametrize(
    ("kind", "config", "what"),
    [
        ("events", {"retention.ms": "-1"}, None),
        ("dead-letters", {"max.message.bytes": str(4 * 1024 * 1024)}, None),
        ("dead-letters", {"max.message.bytes": "1048588"}, "max.message.bytes is 1048588, less than 2097152"),
        ("weighted-examples", {"max.message.bytes": "100000"}, "max.message.bytes is 100000, less than 655360"),
        ("events", {"cleanup.policy": "compact,delete"}, "cleanup.policy is compact,delete, not delete"),
    ],
)
def test_more_than_is_needed_is_no_problem_and_less_is(kafka: KafkaSettings, kind, config, what):
    admin = KafkaAdminClient(**kafka.client_options())
    admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic_name(kind, kafka), configs=config)])
    admin.close()

    problems = [problem.what for problem in check_topics(kafka, JoinSettings()) if problem.topic.endswith(kind)]

    assert problems == ([what] if what else [])


@pytest.mark.kafka
def test_retention_shorter_than_window_and_outage_is_refused(kafka: KafkaSettings):
    day = 86_400.0

    assert check_topics(kafka, JoinSettings(window_seconds=day)) == []
    [problem] = check_topics(kafka, JoinSettings(window_seconds=2 * day))

    assert "shorter than the attribution window" in problem.what
    assert "MILLSTREAM_KAFKA_RETENTION_HOURS" in problem.remedy


def test_no_cluster_is_one_clear_line():
    nobody = KafkaSettings(bootstrap=f"127.0.0.1:{free_port()}")

    with pytest.raises(ClusterError, match="millstream kafka up"):
        apply_topics(nobody)
