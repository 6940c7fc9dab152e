"""Reading with kafka-python: a consumer that never moves by itself, and says so when its place is gone."""

from collections.abc import Callable
from typing import Any

import structlog
from kafka.errors import OffsetOutOfRangeError

from stream.cluster.gone_records import GoneRange, gone_range, tell_gone

Polled = dict[Any, list[Any]]


def poll(
    consumer: Any,
    *,
    timeout_ms: int = 0,
    max_records: int | None = None,
    on_gone: Callable[[GoneRange], None] = tell_gone,
) -> Polled:
    """Return the next records by partition, wherever there are some.

    A consumer of `KafkaSettings.reader_options` has no reset policy: where retention has overtaken it, or the topic was
    made anew, it goes on at the beginning of what is there, and that is said.

    Args:
        consumer: Of those options, with its partitions assigned.
        timeout_ms: How long to wait for the first record.
        max_records: Most of them.
        on_gone: Takes what was deleted before it was read; the default writes a loud line.
    """
    try:
        polled: Polled = consumer.poll(timeout_ms=timeout_ms, max_records=max_records)
    except OffsetOutOfRangeError:
        _go_on_at_what_is_left(consumer, on_gone)
        return {}
    return polled


def _go_on_at_what_is_left(consumer: Any, on_gone: Callable[[GoneRange], None]) -> None:
    partitions = list(consumer.assignment())
    beginnings, ends = consumer.beginning_offsets(partitions), consumer.end_offsets(partitions)
    for partition in partitions:
        position = consumer.position(partition)
        beginning = beginnings[partition]
        if beginning <= position <= ends[partition]:
            continue
        gone = gone_range(partition.topic, partition.partition, expected=position, beginning=beginning)
        if gone is not None:
            on_gone(gone)
        else:
            structlog.get_logger(__name__).error(
                "topic_made_anew",
                topic=partition.topic,
                partition=partition.partition,
                offset=position,
                end=ends[partition],
                effect="it is read from its beginning",
            )
        consumer.seek(partition, beginning)
