from stream.settings import KafkaSettings
from stream.topics import topic_name, topic_table

KAFKA = KafkaSettings(topic_prefix="shop.", partitions=6, retention_hours=2)


def test_every_topic_bears_the_prefix():
    assert topic_name("events", KAFKA) == "shop.events"
    assert all(topic.name == f"shop.{kind}" for kind, topic in topic_table(KAFKA).items())


def test_topics_along_the_path_of_an_impression_have_one_partition_count():
    table = topic_table(KAFKA)
    assert {table[kind].partitions for kind in ("events", "labeled-impressions", "weighted-examples")} == {6}
    assert table["model-releases"].partitions == 1


def test_the_input_of_the_join_is_never_compacted():
    events = topic_table(KAFKA)["events"]
    assert events.config["cleanup.policy"] == "delete"
    assert events.config["retention.ms"] == str(2 * 3_600_000)


def test_releases_keep_the_last_of_each_alias():
    assert topic_table(KAFKA)["model-releases"].config["cleanup.policy"] == "compact"


def test_a_dead_letter_may_be_larger_than_the_record_it_keeps():
    assert int(topic_table(KAFKA)["dead-letters"].config["max.message.bytes"]) > 1024 * 1024
