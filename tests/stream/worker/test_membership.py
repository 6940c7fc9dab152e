import pytest
from faust.types import TP, Message
from prometheus_client import CollectorRegistry

from stream.settings import KafkaSettings
from stream.worker.faust_app import create_app
from stream.worker.membership import Membership
from stream.worker.metrics import GroupMetrics


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("MILLSTREAM_HOME", str(tmp_path))


async def test_a_rebalance_drops_what_was_read_and_is_under_way_until_partitions_are_given():
    app, registry, held = create_app("stream", KafkaSettings(), instance="0"), CollectorRegistry(), [1, 2]
    membership = Membership(app, GroupMetrics(registry, "stream"), held.clear)
    await app.on_partitions_revoked.send({TP("events", 0), TP("events", 1)})
    assert (membership.rebalancing, held) == (True, [])
    await app.on_partitions_assigned.send({TP("events", 1)})
    assert (membership.rebalancing, membership.num_assignments) == (False, 1)
    assert registry.get_sample_value("millstream_stream_rebalances_total") == 1
    assert registry.get_sample_value("millstream_stream_partitions_count") == 1


def record_of(generation: int) -> Message:
    return Message("events", 0, 7, 0.0, 0, {}, None, b"", None, generation_id=generation)


async def test_a_record_of_the_revoked_generation_is_owned_by_nobody():
    app = create_app("stream", KafkaSettings(), instance="0")
    membership = Membership(app, GroupMetrics(CollectorRegistry(), "stream"), lambda: None)
    app.consumer_generation_id = 6
    assert membership.owns(record_of(6))
    await app.on_partitions_revoked.send({TP("events", 0)})
    assert not membership.owns(record_of(6)), "noack_take hands out what it buffered, and the app still bears 6"
    app.consumer_generation_id = 7
    assert membership.owns(record_of(7)), "Faust may hand out records before it says what was assigned"
    await app.on_partitions_assigned.send({TP("events", 0)})
    assert (membership.owns(record_of(6)), membership.owns(record_of(7))) == (False, True)
