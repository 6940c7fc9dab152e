import time
from dataclasses import replace

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from prometheus_client import CollectorRegistry

from stream.example_batch import encode_examples
from stream.settings import KafkaSettings
from stream.topics import topic_name
from tests.trainer.rig import START_MS, recorded_log
from trainer.metrics import TrainerMetrics
from trainer.plans.source import KafkaExampleSource, SourceError, edge_offsets

pytestmark = pytest.mark.kafka

START = {0: 0, 1: 0}


def write_log(kafka, recorded):
    """Write the records with record times of today, for retention deletes old ones, and return them so."""
    shift_ms = time.time_ns() // 1_000_000 - START_MS
    records = [replace(record, timestamp_ms=record.timestamp_ms + shift_ms) for record in recorded]
    producer = KafkaProducer(**kafka.client_options())
    for record in records:
        (raw,) = encode_examples(record.rows)
        topic = topic_name("weighted-examples", kafka)
        producer.send(topic, value=raw, partition=record.partition, timestamp_ms=record.timestamp_ms)
    producer.close()
    return records


@pytest.fixture
def source(kafka):
    source = KafkaExampleSource(kafka, TrainerMetrics(CollectorRegistry()).unreadable_records)
    yield source
    source.close()


def read_all(source):
    records = []
    while source.positions() != source.ends():
        records += source.poll(0.2, [0, 1])
    return records


def by_place(records):
    return sorted(records, key=lambda record: (record.partition, record.offset))


def test_records_arrive_as_they_were_written(kafka, source):
    written = write_log(kafka, recorded_log(100))
    source.seek(START)
    assert by_place(read_all(source)) == by_place(written)


def test_reading_begins_at_the_given_offsets(kafka, source):
    write_log(kafka, recorded_log(100))
    source.seek({0: 2, 1: 3})
    assert min(record.offset for record in read_all(source) if record.partition == 1) == 3


def test_a_partition_that_is_not_wanted_is_not_read(kafka, source):
    write_log(kafka, recorded_log(100))
    source.seek(START)
    for _ in range(10):
        assert all(record.partition == 0 for record in source.poll(0.1, [0]))
    assert source.positions()[1] == 0


def test_a_record_that_cannot_be_decoded_is_a_dead_letter_without_rows(kafka, source):
    producer = KafkaProducer(**kafka.client_options())
    producer.send(topic_name("weighted-examples", kafka), value=b"no arrow", partition=0).get(timeout=10)
    producer.close()
    source.seek(START)
    (record,) = read_all(source)
    assert record.rows == ()
    letters = KafkaConsumer(
        topic_name("dead-letters", kafka),
        **kafka.client_options(),
        auto_offset_reset="earliest",
        consumer_timeout_ms=10_000,
    )
    letter = next(iter(letters))
    letters.close()
    assert letter.value == b"no arrow"
    assert dict(letter.headers)["millstream.stage"] == b"trainer"


def test_an_offset_that_retention_has_passed_names_the_gap_and_the_remedy(kafka, source):
    write_log(kafka, recorded_log(100))
    admin = KafkaAdminClient(**kafka.client_options())
    admin.delete_records({TopicPartition(topic_name("weighted-examples", kafka), 0): 3})
    admin.close()
    with pytest.raises(SourceError, match=r"partition 0 begins at offset 3.*3 records.*millstream trainer skip-lost"):
        source.seek(START)


def test_retention_that_overtakes_a_running_trainer_names_the_gap_and_the_remedy(kafka, source):
    source.seek(START)
    assert source.poll(0.1, [0, 1]) == []
    written = write_log(kafka, recorded_log(100))
    source.poll(0.0, [1])
    admin = KafkaAdminClient(**kafka.client_options())
    end = sum(record.partition == 0 for record in written)
    admin.delete_records({TopicPartition(topic_name("weighted-examples", kafka), 0): end})
    admin.close()
    with pytest.raises(SourceError, match=f"partition 0 begins at offset {end}, the trainer stands at 0"):
        read_all(source)


def test_an_offset_beyond_the_end_says_that_the_topic_was_made_anew(source):
    with pytest.raises(SourceError, match="made anew"):
        source.seek({0: 5, 1: 0})


def test_a_missing_topic_names_the_command_that_makes_it(kafka):
    elsewhere = KafkaSettings(bootstrap=kafka.bootstrap, topic_prefix="nowhere.", partitions=2)
    with pytest.raises(SourceError, match="millstream topics apply"):
        KafkaExampleSource(elsewhere, TrainerMetrics(CollectorRegistry()).unreadable_records)


def test_committed_offsets_show_on_the_group(kafka, source):
    write_log(kafka, recorded_log(100))
    source.commit({0: 2, 1: 1})
    admin = KafkaAdminClient(**kafka.client_options())
    shown = admin.list_group_offsets({f"{kafka.topic_prefix}trainer": None})
    admin.close()
    offsets = {key.partition: value.offset for group in shown.values() for key, value in group.items()}
    assert offsets == {0: 2, 1: 1}


def test_a_new_line_may_begin_at_either_edge(kafka):
    write_log(kafka, recorded_log(100))
    assert edge_offsets(kafka, "beginning") == START
    assert all(offset > 0 for offset in edge_offsets(kafka, "end").values())
