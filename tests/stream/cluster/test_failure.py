"""What keeps a client from a cluster is told by name: on one real broker with a listener for each way to fail."""

import logging
import re
import socket

import pytest
from kafka.errors import (
    KafkaConnectionError,
    KafkaTimeoutError,
    SaslAuthenticationFailedError,
    UnsupportedSaslMechanismError,
)

from deploy.doctor import examine_cluster
from deploy.local_kafka import broker
from deploy.local_kafka.broker import LocalKafka, free_port
from stream.cluster import admin
from stream.cluster.admin import ClusterError, apply_topics, connect_admin
from stream.cluster.failure import connection_failures, failure_line, silent_addresses
from stream.settings import JoinSettings, KafkaSettings

LOGIN = "org.apache.kafka.common.security.plain.PlainLoginModule required user_shop=right;"


@pytest.fixture(scope="module")
def addresses(tmp_path_factory: pytest.TempPathFactory):
    """host:port by listener: PLAINTEXT, SASL (PLAIN, user shop), LOST (advertised where nobody is)."""
    ports = {name: free_port() for name in ("PLAINTEXT", "SASL", "LOST")}
    lines = {
        "listeners": ",".join(f"{name}://127.0.0.1:{port}" for name, port in ports.items()),
        # The plain one comes last: its port is the one that LocalKafka reads back.
        "advertised.listeners": f"LOST://nobody.invalid:9092,SASL://127.0.0.1:{ports['SASL']},"
        f"PLAINTEXT://127.0.0.1:{ports['PLAINTEXT']}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,SASL:SASL_PLAINTEXT,LOST:PLAINTEXT,CONTROLLER:PLAINTEXT",
    }
    text = broker._SERVER
    for name, value in lines.items():
        [line] = [line for line in text.splitlines() if line.startswith(f"{name}=")]
        controller = ",CONTROLLER://127.0.0.1:{controller_port}" if name == "listeners" else ""
        text = text.replace(f"{line}\n", f"{name}={value}{controller}\n")
    text += f"sasl.enabled.mechanisms=PLAIN\nlistener.name.sasl.plain.sasl.jaas.config={LOGIN}\n"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(broker, "_SERVER", text)
        with LocalKafka(tmp_path_factory.mktemp("kafka"), ports["PLAINTEXT"]):
            yield {name: f"127.0.0.1:{port}" for name, port in ports.items()}


def sasl(addresses: dict[str, str], **changed: str) -> KafkaSettings:
    settings = {"security_protocol": "SASL_PLAINTEXT", "sasl_mechanism": "PLAIN", "sasl_username": "shop"}
    return KafkaSettings(**{"bootstrap": addresses["SASL"], "sasl_password": "right", **settings, **changed})


def failure(kafka: KafkaSettings) -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(admin, "_ANSWER_WITHIN_SECONDS", 3)  # each is refused at once, and tried again until then
        with pytest.raises(ClusterError) as raised:
            connect_admin(kafka)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_a_refused_handshake_names_the_settings_of_tls_and_no_broker_to_start():
    kafka = KafkaSettings(bootstrap="broker-1:9093", security_protocol="SSL")
    cause = KafkaConnectionError("Handshake failed: [SSL: CERTIFICATE_VERIFY_FAILED] unable to get local issuer")
    late = KafkaTimeoutError("Unable to bootstrap")
    said = failure_line(kafka, late, [cause, late])

    assert said.startswith("TLS to Kafka at broker-1:9093 failed ([SSL: CERTIFICATE_VERIFY_FAILED]")
    assert "MILLSTREAM_KAFKA_SSL_CAFILE" in said


@pytest.mark.parametrize(
    ("cause", "named"),
    [
        (SaslAuthenticationFailedError("no"), "MILLSTREAM_KAFKA_SASL_PASSWORD"),
        (UnsupportedSaslMechanismError(), "does not take SASL SCRAM-SHA-512"),
        (KafkaConnectionError("Connection reset"), "or does not talk SASL_SSL"),
    ],
)
def test_the_cause_is_told_and_not_the_time_out_that_it_ends_in(cause: Exception, named: str):
    kafka = KafkaSettings(security_protocol="SASL_SSL", sasl_username="shop", sasl_password="hunter2")
    late = KafkaTimeoutError("Unable to bootstrap")

    said = failure_line(kafka, late, [cause, late])
    assert named in said
    assert "hunter2" not in said


def test_what_the_client_would_only_log_is_collected_and_not_shown(caplog: pytest.LogCaptureFixture):
    log = logging.getLogger("kafka.net.manager")
    with connection_failures() as causes:
        log.warning("Bootstrap connection to %s failed: %s (backoff %.2f secs)", 0, KafkaTimeoutError("late"), 0.1)
    log.warning("afterwards")

    assert [str(cause) for cause in causes] == [str(KafkaTimeoutError("late"))]
    assert [record.message for record in caplog.records] == ["afterwards"]


def test_silent_addresses_are_told_with_their_reason():
    with socket.create_server(("127.0.0.1", 0)) as server:
        heard, silent = server.getsockname(), ("127.0.0.1", free_port())
        found = silent_addresses([heard, silent, ("nobody.invalid", 1)])

    assert set(found) == {silent, ("nobody.invalid", 1)}
    assert isinstance(found[silent], ConnectionRefusedError)


@pytest.mark.kafka
def test_the_right_password_opens_the_cluster(addresses: dict[str, str]):
    connect_admin(sasl(addresses)).close()


@pytest.mark.kafka
def test_a_wrong_password_is_an_authentication_error_that_names_the_settings(addresses: dict[str, str]):
    said = failure(sasl(addresses, sasl_password="hunter2"))

    assert "refused the credentials of SASL user 'shop'" in said
    assert "MILLSTREAM_KAFKA_SASL_PASSWORD" in said
    assert "hunter2" not in said
    assert "kafka up" not in said


@pytest.mark.kafka
def test_a_mechanism_that_the_broker_has_not_is_named(addresses: dict[str, str]):
    said = failure(sasl(addresses, sasl_mechanism="SCRAM-SHA-512"))

    # The client may lose the broker's answer, and know only that it hung up.
    assert re.search("does not t(ake SASL|alk SASL_PLAINTEXT or) SCRAM-SHA-512", said)
    assert "MILLSTREAM_KAFKA_SASL_MECHANISM" in said


@pytest.mark.kafka
@pytest.mark.parametrize("protocol", ["PLAINTEXT", "SSL"])
def test_another_protocol_than_the_broker_speaks_is_named(addresses: dict[str, str], protocol: str):
    kafka = KafkaSettings(bootstrap=addresses["SASL"], security_protocol=protocol)
    assert "MILLSTREAM_KAFKA_SECURITY_PROTOCOL" in failure(kafka)


@pytest.mark.kafka
def test_an_advertised_address_that_nobody_reaches_is_told_with_the_setting_of_the_broker(addresses: dict[str, str]):
    said = failure(KafkaSettings(bootstrap=addresses["LOST"]))

    assert "nobody.invalid:9092" in said
    assert "advertised.listeners" in said


@pytest.mark.kafka
def test_doctor_tells_the_same(addresses: dict[str, str]):
    [finding] = examine_cluster(KafkaSettings(bootstrap=addresses["LOST"]), JoinSettings())

    assert (finding.state, finding.subject) == ("fail", "cluster")
    assert "nobody.invalid:9092" in finding.what
    assert "advertised.listeners" in finding.remedy


@pytest.mark.kafka
def test_a_cluster_that_can_be_reached_gets_its_topics(addresses: dict[str, str]):
    assert len(apply_topics(KafkaSettings(bootstrap=addresses["PLAINTEXT"], topic_prefix="reached."))) == 6
