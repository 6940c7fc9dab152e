from pathlib import Path

import pytest
from pydantic import ValidationError

from stream.process.error_line import error_line
from stream.settings import KafkaSettings


def test_the_password_is_never_shown():
    kafka = KafkaSettings(security_protocol="SASL_SSL", sasl_username="u", sasl_password="hunter2")
    assert "hunter2" not in repr(kafka) + str(kafka) + kafka.model_dump_json()


def test_client_options_carry_credentials_and_files_only_where_the_protocol_has_them():
    plain = KafkaSettings(bootstrap="a:1,b:2")
    assert plain.client_options() == {"bootstrap_servers": ["a:1", "b:2"], "security_protocol": "PLAINTEXT"}
    secure = KafkaSettings(
        security_protocol="SASL_SSL", sasl_username="u", sasl_password="p", ssl_cafile=Path("ca.pem")
    )
    options = secure.client_options()
    assert options["sasl_plain_password"] == "p"
    assert options["ssl_cafile"] == "ca.pem"
    assert "ssl_keyfile" not in options


@pytest.mark.parametrize("value", ["localhost", "a:1,b", "a:0", "a:99999", "PLAINTEXT://a:1", "a:x", "", " , "])
def test_what_is_no_address_of_brokers_is_refused(value):
    with pytest.raises(ValidationError, match="write for example"):
        KafkaSettings(bootstrap=value)


def test_spaces_between_brokers_do_no_harm():
    assert KafkaSettings(bootstrap=" a:1, b:2 ,").client_options()["bootstrap_servers"] == ["a:1", "b:2"]


def test_a_prefix_that_no_topic_may_have_is_refused():
    with pytest.raises(ValidationError, match="topic_prefix"):
        KafkaSettings(topic_prefix="my shop/")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"security_protocol": "SASL_SSL"}, "needs MILLSTREAM_KAFKA_SASL_USERNAME"),
        ({"security_protocol": "SASL_SSL", "sasl_username": "u"}, "MILLSTREAM_KAFKA_SASL_PASSWORD"),
        ({"sasl_username": "u", "sasl_password": "hunter2"}, "set MILLSTREAM_KAFKA_SECURITY_PROTOCOL=SASL_SSL"),
    ],
)
def test_credentials_and_protocol_go_together(settings, message):
    with pytest.raises(ValidationError) as raised:
        KafkaSettings(**settings)
    assert message in error_line(raised.value)
    assert "hunter2" not in error_line(raised.value)
