import re
from contextlib import closing

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition

from stream.cluster.gone_records import GoneRange
from stream.cluster.log import TopicLog
from stream.cluster.reader import poll
from stream.settings import KafkaSettings
from stream.topics import topic_name
from tests.contracts.test_layout import MODULES, ROOT
from tests.deploy.recorded_run import RecordedRun


def test_every_consumer_has_the_one_set_of_options() -> None:
    consumers = {
        path.relative_to(ROOT).as_posix(): re.findall(r"KafkaConsumer\(\s*(\S+)", path.read_text()) for path in MODULES
    }
    made = {path: first for path, arguments in consumers.items() for first in arguments}
    assert len(made) >= 6
    assert {path: first for path, first in made.items() if not first.startswith("**kafka.reader_options()")} == {}


def test_a_reader_has_no_group_and_no_reset_policy() -> None:
    options = KafkaSettings().reader_options()
    assert (options["group_id"], options["enable_auto_commit"]) == (None, False)
    assert (options["auto_offset_reset"], options["isolation_level"]) == ("none", "read_committed")


def write(kafka: KafkaSettings, count: int) -> None:
    run = RecordedRun()
    for number in range(count):
        run.add("events", 0, str(number).encode())
    run.write_to(kafka)


@pytest.mark.kafka
def test_what_retention_deletes_before_it_is_read_is_noted_and_the_rest_is_read(kafka: KafkaSettings) -> None:
    write(kafka, 5)
    topic = topic_name("events", kafka)
    with closing(TopicLog(kafka)) as log:
        extent = log.extent("events")
        admin = KafkaAdminClient(**kafka.client_options())
        admin.delete_records({TopicPartition(topic, 0): 3})
        admin.close()
        assert [record.value for record in log.records("events", extent)] == [b"3", b"4"]
        assert log.gone == [GoneRange(topic, 0, 0, 2)]


@pytest.mark.kafka
def test_a_reader_that_stands_beyond_the_end_begins_again(kafka: KafkaSettings) -> None:
    write(kafka, 2)
    partition = TopicPartition(topic_name("events", kafka), 0)
    consumer = KafkaConsumer(**kafka.reader_options())
    consumer.assign([partition])
    consumer.seek(partition, 1_000)
    values: list[bytes] = []
    for _ in range(50):
        values += [record.value for record in poll(consumer, timeout_ms=200).get(partition, [])]
        if len(values) == 2:
            break
    consumer.close()
    assert values == [b"0", b"1"]


@pytest.mark.kafka
def test_a_log_that_ends_with_an_aborted_transaction_is_read_to_its_end(kafka: KafkaSettings) -> None:
    write(kafka, 2)
    producer = KafkaProducer(**kafka.client_options(), transactional_id="reader-test", acks="all")
    producer.init_transactions()
    for end in (producer.abort_transaction, producer.commit_transaction):
        producer.begin_transaction()
        producer.send(topic_name("events", kafka), value=end.__name__.encode(), partition=0)
        producer.flush()
        end()
    producer.close()
    with closing(TopicLog(kafka)) as log:
        values = [record.value for record in log.records("events", log.extent("events"))]
    assert values == [b"0", b"1", b"commit_transaction"]
