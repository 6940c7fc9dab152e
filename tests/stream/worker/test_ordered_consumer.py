import asyncio
from collections.abc import AsyncIterator, Coroutine
from types import SimpleNamespace

import pytest
from aiokafka.consumer.subscription_state import SubscriptionState
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread
from faust.types import TP

from stream.settings import KafkaSettings
from stream.worker.faust_app import create_app
from stream.worker.log_end import HandedOut
from stream.worker.ordered_consumer import OrderedConsumer

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


async def test_a_consumer_that_does_not_run_yet_has_no_partitions(consumer):
    assert consumer.assignment() == set(), "a worker that is told to stop while it starts looks at them too"


async def test_a_look_never_falls_between_reading_records_and_noting_them(consumer, monkeypatch):
    """It would take a partition for read whose last records are still on their way."""
    thread, seen = consumer._thread, []

    async def fetch(*_: object) -> dict[TP, list[SimpleNamespace]]:
        state.consumed_to(3)
        seen.append(thread.log_ends())  # as the other thread might, at this very moment
        return {PARTITION: [SimpleNamespace(offset=offset) for offset in range(3)]}

    subscription = SubscriptionState()
    subscription.subscribe({PARTITION.topic})
    subscription.assign_from_subscribed([PARTITION])
    state = subscription.subscription.assignment.state_value(PARTITION)
    state.reset_to(0)
    state.highwater = state.lso = 3
    state.timestamp = 7
    monkeypatch.setattr(thread, "_consumer", SimpleNamespace(_subscription=subscription))
    monkeypatch.setattr(AIOKafkaConsumerThread, "_fetch_records", fetch)

    def run(coroutine: Coroutine[None, None, object]) -> object:
        return thread.thread_loop.run_until_complete(coroutine)

    def work() -> None:
        thread.log_ends()
        run(asyncio.sleep(0))
        run(thread._fetch_records())
        run(asyncio.sleep(0))
        seen.append(thread.log_ends())

    await asyncio.to_thread(work)
    before, after = (ends[PARTITION] for ends in seen)
    assert (before.position, before.is_read(None)) == (0, False)
    assert (after.position, after.handed_out, after.is_read(None), after.is_read(3)) == (
        3,
        HandedOut(0, 3),
        False,
        True,
    )
