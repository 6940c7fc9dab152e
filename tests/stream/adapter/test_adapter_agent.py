"""The adapter's agent as Faust drives it, without a broker: foreign records come in chunks."""

import json
import time
from collections.abc import AsyncIterator

import pytest
from faust.types import TP, Message
from prometheus_client import CollectorRegistry

from stream.adapter.agent import _MAX_HELD, AdapterAgent
from stream.adapter.mapping import Mapping, Source
from stream.adapter.metrics import AdapterMetrics
from stream.settings import KafkaSettings
from stream.worker.faust_app import create_app

VIEWS = TP("views", 0)
HOUR_MS = 3_600_000
MAPPING = Mapping(
    [
        Source(
            topic="views",
            event="impression",
            fields={"impression_id": "id", "event_time_ms": "ts", "item_id": "id", "item_text": "id"},
        )
    ]
)


class Handed:
    """A Faust event."""

    def __init__(self, offset: int, event_time_ms: int, create_time_ms: int):
        value = json.dumps({"id": f"v{offset}", "ts": event_time_ms}).encode()
        self.message = Message(
            "views", 0, offset, create_time_ms / 1000, 0, {}, None, value, None, tp=VIEWS, generation_id=1
        )


class Chunk:
    """A Faust stream that hands out one chunk and ends."""

    def __init__(self, *events: Handed):
        self._events = list(events)

    async def noack_take(self, _size: int, within: float) -> AsyncIterator[list[Handed]]:
        assert within > 0
        yield self._events


@pytest.fixture
async def agent(tmp_path, monkeypatch) -> AdapterAgent:
    monkeypatch.setenv("MILLSTREAM_HOME", str(tmp_path))
    kafka = KafkaSettings()
    app = create_app("adapter", kafka, instance="0")
    app.consumer_generation_id = 1
    return AdapterAgent(app, kafka, AdapterMetrics(CollectorRegistry()), ["views"])


@pytest.mark.parametrize(
    ("age_ms", "kept"), [(0, True), (HOUR_MS, True), (23 * HOUR_MS, True), (25 * HOUR_MS, False), (-HOUR_MS, False)]
)
async def test_an_event_keeps_its_records_create_time_unless_it_would_spoil_retention_or_is_to_come(
    agent: AdapterAgent, age_ms: int, kept: bool
):
    created_ms = int(time.time() * 1000) - age_ms
    await agent.read(Chunk(Handed(0, created_ms, created_ms)), MAPPING)

    [(_, settled)] = agent._alignment.release({}, limit=1)
    assert settled.delivery.create_time_ms == (created_ms if kept else None)


async def test_a_partition_far_ahead_is_fetched_no_more_until_it_may_leave(agent: AdapterAgent):
    now_ms = int(time.time() * 1000)
    consumer = agent._app.consumer
    consumer._active_partitions = {VIEWS, TP("clicks", 0)}

    await agent.read(Chunk(*(Handed(offset, now_ms, now_ms) for offset in range(_MAX_HELD))), MAPPING)
    assert consumer._active_partitions == {TP("clicks", 0)}
    assert VIEWS in consumer._buffered_partitions, "what was fetched already still comes"

    agent._alignment.release({}, limit=1)
    agent._hold_back({VIEWS})
    assert consumer._active_partitions == {VIEWS, TP("clicks", 0)}


async def test_where_the_client_goes_back_to_before_its_first_record_reading_begins_again(agent: AdapterAgent):
    now_ms = int(time.time() * 1000)
    await agent.read(Chunk(*(Handed(offset, now_ms, now_ms) for offset in (3, 4))), MAPPING)
    await agent.read(Chunk(*(Handed(offset, now_ms, now_ms) for offset in (0, 1, 2, 3, 4, 5))), MAPPING)

    released = [settled for _, settled in agent._alignment.release({}, limit=100)]
    assert [settled.message.offset for settled in released] == [0, 1, 2, 3, 4, 5]
    assert agent._alignment.num_held == 0
