from pathlib import Path

import pytest
from pydantic import ValidationError

from stream.process.error_line import error_line
from stream.settings import JoinSettings, KafkaSettings


def test_a_wrong_setting_is_named_as_in_the_environment_with_its_value():
    with pytest.raises(ValidationError) as raised:
        JoinSettings(window_seconds=-1)

    assert error_line(raised.value) == "MILLSTREAM_JOIN_WINDOW_SECONDS=-1: input should be greater than 0"


def test_two_wrong_settings_are_one_line():
    with pytest.raises(ValidationError) as raised:
        KafkaSettings(partitions=0, security_protocol="none")

    line = error_line(raised.value)
    assert "MILLSTREAM_KAFKA_PARTITIONS=0" in line
    assert "MILLSTREAM_KAFKA_SECURITY_PROTOCOL='none'" in line
    assert "\n" not in line


def test_a_secret_is_not_shown():
    with pytest.raises(ValidationError) as raised:
        KafkaSettings(sasl_password=["hunter2"])

    assert "hunter2" not in error_line(raised.value)


def test_another_error_becomes_one_line():
    assert error_line(ValueError("first\n  second")) == "first second"
    assert error_line(RuntimeError()) == "RuntimeError"


def test_a_wrong_value_of_the_file_names_the_file(tmp_path, monkeypatch):
    path = tmp_path / "wrong.toml"
    path.write_text("[kafka]\nsasl_password = 123456\npartitions = 'none'\n")
    monkeypatch.setenv("MILLSTREAM_CONFIG", str(path))
    monkeypatch.delenv("MILLSTREAM_KAFKA_PARTITIONS", raising=False)
    with pytest.raises(ValidationError) as raised:
        KafkaSettings()

    line = error_line(raised.value)
    assert f"{path}: MILLSTREAM_KAFKA_PARTITIONS='none': " in line
    assert "123456" not in line


def test_an_error_of_the_system_names_the_file_before_the_reason():
    with pytest.raises(OSError, match="absent") as raised:
        Path("absent.txt").read_text()
    assert error_line(raised.value) == "absent.txt: no such file or directory"


def test_a_misspelt_secret_is_not_shown(tmp_path, monkeypatch):
    path = tmp_path / "wrong.toml"
    path.write_text("[kafka]\nsasl_pasword = 'hunter2'\n")
    monkeypatch.setenv("MILLSTREAM_CONFIG", str(path))
    with pytest.raises(ValidationError) as raised:
        KafkaSettings()
    assert error_line(raised.value) == "sasl_pasword is no setting of [kafka]"


def test_a_long_value_is_cut_and_line_breaks_are_blanks():
    with pytest.raises(ValidationError) as raised:
        KafkaSettings(partitions="x" * 5000)
    assert len(error_line(raised.value)) < 300

    with pytest.raises(ValidationError) as raised:
        KafkaSettings(sasl_username="a\nb")
    assert "\n" not in error_line(raised.value)
