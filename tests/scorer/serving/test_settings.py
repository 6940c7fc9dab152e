import pytest
from pydantic import ValidationError

from scorer.serving.settings import ServiceSettings


def test_the_service_listens_on_loopback_unless_told_otherwise() -> None:
    assert ServiceSettings().host == "127.0.0.1"


def test_settings_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLSTREAM_SERVICE_MAX_ROWS", "7")
    assert ServiceSettings().max_rows == 7


def test_a_port_out_of_range_is_refused_by_name() -> None:
    with pytest.raises(ValidationError, match="port"):
        ServiceSettings(port=70_000)
