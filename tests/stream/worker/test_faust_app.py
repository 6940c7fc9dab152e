import ssl

import faust
import faust.streams
import pytest

from stream.settings import KafkaSettings
from stream.worker.faust_app import create_app


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
