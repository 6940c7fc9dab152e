from collections.abc import AsyncIterator

import pytest
from faust.types import TP

from stream.app import create_app
from stream.ordered_consumer import OrderedConsumer
from stream.settings import KafkaSettings

PARTITION = TP("events", 0)


@pytest.fixture
async def consumer(tmp_path, monkeypatch) -> AsyncIterator[OrderedConsumer]:
    monkeypatch.setenv("MILLSTREAM_HOME", str(tmp_path))
    app = create_app("stream", KafkaSettings(), instance="0")
    app.finalize()
    yield app.consumer
    app.consumer._thread.thread_loop.close()


def committable(consumer: OrderedConsumer, *acknowledged: int) -> int | None:
    consumer._acked[PARTITION].extend(acknowledged)
    return consumer._filter_committable_offsets([PARTITION]).get(PARTITION)


async def test_what_follows_the_newest_acknowledged_record_is_committed(consumer):
    assert committable(consumer) is None
    assert committable(consumer, 5, 6, 7) == 8


async def test_offsets_that_hold_no_record_hold_no_commit_up(consumer):
    assert committable(consumer, 0) == 1
    consumer._committed_offset[PARTITION] = 1
    assert committable(consumer, 12, 13, 40) == 41


async def test_faust_drops_no_record_when_the_client_goes_back(consumer):
    consumer._read_offset[PARTITION] = 90
    consumer._read_offset.update({PARTITION: 90})
    assert consumer._read_offset[PARTITION] is None, "then its drain loop hands every record on"
