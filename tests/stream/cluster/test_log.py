from contextlib import closing

import pytest

from stream.cluster.admin import ClusterError
from stream.cluster.log import TopicLog, committed_offsets
from stream.settings import KafkaSettings
from tests.deploy.recorded_run import RecordedRun, commit

pytestmark = pytest.mark.kafka


def test_records_are_read_from_the_start_to_the_extents_end_and_no_further(kafka: KafkaSettings):
    run = RecordedRun()
    for number in range(5):
        run.add("events", number % 2, str(number).encode(), {"a": b"b"})
    run.write_to(kafka)
    with closing(TopicLog(kafka)) as log:
        extent = log.extent("events")
        run.write_to(kafka)
        records = list(log.records("events", extent))

    assert extent.end == {0: 3, 1: 2}
    assert sorted(record.value or b"" for record in records) == [b"0", b"1", b"2", b"3", b"4"]
    assert {record.headers["a"] for record in records} == {b"b"}


def test_an_empty_topic_has_no_records(kafka: KafkaSettings):
    with closing(TopicLog(kafka)) as log:
        assert list(log.records("events", log.extent("events"))) == []


def test_a_missing_topic_is_named_with_the_remedy(kafka: KafkaSettings):
    with (
        closing(TopicLog(kafka.model_copy(update={"topic_prefix": "nobody."}))) as log,
        pytest.raises(ClusterError, match="apply"),
    ):
        log.extent("events")


def test_committed_offsets_are_those_of_the_group(kafka: KafkaSettings):
    assert committed_offsets(kafka, "stream", "events") == {}

    commit(kafka, "stream", "events", {1: 0})

    assert committed_offsets(kafka, "stream", "events") == {1: 0}
