"""The join's agent as Faust drives it, without a broker: records of generations come in chunks."""

from collections.abc import AsyncIterator

import pytest
from faust.types import TP, Message
from prometheus_client import CollectorRegistry

from stream.events import Impression, encode
from stream.join.agent import JoinAgent, first_label
from stream.join.metrics import JoinMetrics
from stream.settings import JoinSettings, KafkaSettings
from stream.worker.faust_app import create_app

T0 = 1_700_000_000_000


class Handed:
    """A Faust event."""

    def __init__(self, offset: int, generation: int, **stamp: float | None) -> None:
        event = Impression(impression_id=f"i{offset}", event_time_ms=T0 + offset, item_id="x", item_text="red shoe")
        time_s = stamp.get("timestamp", event.event_time_ms / 1000)
        self.message = Message(
            "millstream.events", 0, offset, time_s, 0, {}, b"k", encode(event), None, generation_id=generation
        )


class Chunks:
    """A Faust stream that hands out the given chunks and ends."""

    def __init__(self, *chunks: list[Handed]) -> None:
        self._chunks = chunks

    async def noack_take(self, _size: int, within: float) -> AsyncIterator[list[Handed]]:
        assert within > 0
        for chunk in self._chunks:
            yield chunk


def handed(*offsets: int, generation: int) -> list[Handed]:
    return [Handed(offset, generation) for offset in offsets]


@pytest.fixture
async def worker(tmp_path, monkeypatch):
    monkeypatch.setenv("MILLSTREAM_HOME", str(tmp_path))
    app, registry = create_app("stream", KafkaSettings(), instance="0"), CollectorRegistry()
    agent = JoinAgent(app, KafkaSettings(), JoinSettings(window_seconds=60), JoinMetrics(registry))
    app.consumer_generation_id = 6
    return app, agent, registry


async def test_what_was_buffered_through_a_rebalance_hides_no_earlier_record(worker):
    app, agent, registry = worker
    await agent.read(Chunks(handed(0, 1, 2, generation=6)))
    await app.on_partitions_revoked.send({TP("millstream.events", 0)})
    await agent.read(Chunks(handed(3, 4, generation=6)))
    app.consumer_generation_id = 7
    await app.on_partitions_assigned.send({TP("millstream.events", 0)})
    await agent.read(Chunks(handed(0, 1, 2, 3, 4, 5, generation=7)))
    assert registry.get_sample_value("millstream_stream_stale_records_total") == 2
    assert agent.num_pending == 6


async def test_a_join_begins_again_where_the_client_goes_back_to_before_its_first_record(worker):
    _, agent, _ = worker
    await agent.read(Chunks(handed(3, 4, generation=6), handed(0, 1, 2, 3, 4, 5, generation=6)))
    assert agent.num_pending == 6


@pytest.mark.parametrize("timestamp", [None, 0.0, -0.001])
async def test_a_record_without_a_time_of_its_own_keeps_its_window_open(worker, timestamp):
    _, agent, _ = worker
    await agent.read(Chunks([Handed(0, 6), Handed(1, 6, timestamp=timestamp), Handed(2, 6)]))
    assert agent.num_pending == 3


async def test_what_a_join_has_already_taken_in_is_skipped(worker):
    _, agent, registry = worker
    await agent.read(Chunks(handed(3, 4, generation=6), handed(3, 4, 5, generation=6)))
    assert registry.get_sample_value("millstream_stream_stale_records_total") == 2
    assert agent.num_pending == 3


def test_a_start_says_when_the_first_label_is_due_and_how_to_see_it_sooner():
    settings = JoinSettings(window_seconds=1800, lateness_seconds=1, quiet_seconds=15)
    assert first_label(settings).startswith("1801 s after the first impression; if events cease, no sooner than 15 s")
    assert "MILLSTREAM_JOIN_WINDOW_SECONDS" in first_label(settings)
    assert "at once" in first_label(JoinSettings(early_negative=True))
