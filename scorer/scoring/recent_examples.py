"""The end of `weighted-examples`: the rows that a restarted scorer's running means were made of."""

from contextlib import closing

import structlog

from stream.cluster.log import Extent, LogRecord, TopicLog
from stream.events import EventError, WeightedExample
from stream.example_batch import decode_examples
from stream.settings import KafkaSettings


def recent_examples(kafka: KafkaSettings, num_rows: int) -> list[WeightedExample]:
    """Return the last `num_rows` examples of all partitions, or all there are, in the order of their scores.

    Whichever scorer made them: what is normal is a property of the whole stream. No consumer group is joined.

    Raises:
        ClusterError: the cluster does not answer or stops to, or the topic does not exist.
    """
    examples: list[WeightedExample] = []
    with closing(TopicLog(kafka)) as log:
        whole = log.extent("weighted-examples")
        end, num_records = whole.end, 1
        # How many rows a record holds is known once it is read, so each look goes twice as far back as the one before.
        while len(examples) < num_rows and end != whole.first:
            start = {number: max(whole.first[number], offset - num_records) for number, offset in end.items()}
            for record in log.records("weighted-examples", Extent(start, end)):
                examples += _decode(record)
            end, num_records = start, 2 * num_records
    return sorted(examples, key=lambda example: example.scored_ms)[-num_rows:]


def _decode(record: LogRecord) -> list[WeightedExample]:
    try:
        return decode_examples(record.value)
    except EventError as error:
        # The trainer makes the dead letter, and counts it: it must not be written twice.
        structlog.get_logger(__name__).warning(
            "record_unusable", partition=record.partition, offset=record.offset, reason=error.reason
        )
        return []
