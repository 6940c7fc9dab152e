import ssl

import faust
import faust.streams
import pytest
from faust.types import TP, Message
from prometheus_client import CollectorRegistry

from stream.settings import KafkaSettings
from stream.worker.faust_app import Membership, create_app
from stream.worker.metrics import GroupMetrics


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("MILLSTREAM_HOME", str(tmp_path))


def test_group_and_instance_are_named_after_prefix_process_and_slot():
    app = create_app("stream", KafkaSettings(topic_prefix="shop."), instance="3")
    assert app.conf.id == "shop.stream"
    assert app.conf.consumer_group_instance_id == "shop.stream-3"


def test_settings_that_were_measured_to_lose_nothing():
    conf = create_app("stream", KafkaSettings(), instance="0").conf
    assert conf.stream_wait_empty is False
    assert conf.table_standby_replicas == 0
    assert conf.topic_allow_declare is False
    assert conf.web_enabled is False
    assert conf.producer_acks == -1
    assert conf.broker_session_timeout < conf.broker_request_timeout


def test_every_broker_is_named():
    app = create_app("stream", KafkaSettings(bootstrap="a:1,b:2"), instance="0")
    assert [url.authority for url in app.conf.broker] == ["a:1", "b:2"]


def test_credentials_go_to_faust():
    kafka = KafkaSettings(
        security_protocol="SASL_SSL", sasl_mechanism="SCRAM-SHA-256", sasl_username="u", sasl_password="p"
    )
    credentials = create_app("stream", kafka, instance="0").conf.broker_credentials
    assert isinstance(credentials, faust.SASLCredentials)
    assert (credentials.protocol.value, credentials.mechanism.value) == ("SASL_SSL", "SCRAM-SHA-256")
    assert (credentials.username, credentials.password) == ("u", "p")


def test_tls_without_a_user_goes_to_faust():
    credentials = create_app("stream", KafkaSettings(security_protocol="SSL"), instance="0").conf.broker_credentials
    assert isinstance(credentials.context, ssl.SSLContext)
    assert credentials.context.verify_mode == ssl.CERT_REQUIRED


def test_the_pure_python_stream_is_refused(monkeypatch):
    monkeypatch.setattr(faust.streams, "_CStreamIterator", None)
    with pytest.raises(RuntimeError, match="NO_CYTHON"):
        create_app("stream", KafkaSettings(), instance="0")


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
