"""What keeps a client from a cluster is told by name: on one real broker with a listener for each way to fail."""

import pytest

from deploy import local_kafka
from deploy.doctor import examine_cluster
from deploy.local_kafka import LocalKafka, free_port
from stream.settings import JoinSettings, KafkaSettings
from stream.topic_admin import ClusterError, apply_topics, connect_admin

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
    text = local_kafka._SERVER
    for name, value in lines.items():
        [line] = [line for line in text.splitlines() if line.startswith(f"{name}=")]
        controller = ",CONTROLLER://127.0.0.1:{controller_port}" if name == "listeners" else ""
        text = text.replace(f"{line}\n", f"{name}={value}{controller}\n")
    text += f"sasl.enabled.mechanisms=PLAIN\nlistener.name.sasl.plain.sasl.jaas.config={LOGIN}\n"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(local_kafka, "_SERVER", text)
        with LocalKafka(tmp_path_factory.mktemp("kafka"), ports["PLAINTEXT"]):
            yield {name: f"127.0.0.1:{port}" for name, port in ports.items()}


def sasl(addresses: dict[str, str], **changed: str) -> KafkaSettings:
    settings = {"security_protocol": "SASL_PLAINTEXT", "sasl_mechanism": "PLAIN", "sasl_username": "shop"}
    return KafkaSettings(**{"bootstrap": addresses["SASL"], "sasl_password": "right", **settings, **changed})


def failure(kafka: KafkaSettings) -> str:
    with pytest.raises(ClusterError) as raised:
        connect_admin(kafka)
    assert "\n" not in str(raised.value)
    return str(raised.value)


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

    assert "does not take SASL SCRAM-SHA-512" in said
    assert "MILLSTREAM_KAFKA_SASL_MECHANISM" in said


@pytest.mark.kafka
@pytest.mark.parametrize("protocol", ["PLAINTEXT", "SSL"])
def test_another_protocol_than_the_broker_speaks_is_named(addresses: dict[str, str], protocol: str):
    assert "MILLSTREAM_KAFKA_SECURITY_PROTOCOL" in failure(sasl(addresses, security_protocol=protocol))


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
