import pytest

from stream.configuration.millstream_settings import MillstreamSettings
from stream.configuration.setting_names import check_settings, origin, settings_groups
from stream.settings import JoinSettings


@pytest.fixture(autouse=True)
def _no_cluster_named(monkeypatch: pytest.MonkeyPatch):
    for name in ("KUBERNETES_SERVICE_HOST", "MILLSTREAM_CONFIG"):
        monkeypatch.delenv(name, raising=False)


def configure(monkeypatch, tmp_path, text: str) -> None:
    path = tmp_path / "millstream.toml"
    path.write_text(text)
    monkeypatch.setenv("MILLSTREAM_CONFIG", str(path))


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("MILLSTREAM_JOIN_WINDOW_SECOND", "MILLSTREAM_JOIN_WINDOW_SECONDS"),
        ("MILLSTREAM_KAFKA_BOOTSTRAP_SERVERS", "MILLSTREAM_KAFKA_BOOTSTRAP"),
        ("millstream_join_windows", "MILLSTREAM_JOIN_WINDOW_SECONDS"),
        ("MILLSTREAM_CONFIGS", "MILLSTREAM_CONFIG"),
    ],
)
def test_a_misspelt_variable_is_refused_with_what_was_meant(monkeypatch, name, meant):
    monkeypatch.setenv(name, "5")
    with pytest.raises(ValueError, match=rf"^{name} is no setting; do you mean {meant}\?$"):
        check_settings()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[joins]\nwindow_seconds = 5", r"\[joins\] in .*toml is no group of settings; do you mean join\?"),
        (
            "[join]\nwindow_second = 5",
            r"window_second of \[join\] in .*toml is no setting; do you mean window_seconds\?",
        ),
        ("[kafka]\nsasl_pasword = 'hunter2'", r"sasl_pasword of \[kafka\].*do you mean sasl_password\?"),
        ("[join.window]\nseconds = 5", r"window of \[join\]"),
    ],
)
def test_a_misspelt_table_or_field_is_refused_without_its_value(monkeypatch, tmp_path, text, message):
    configure(monkeypatch, tmp_path, text)
    with pytest.raises(ValueError, match=message) as raised:
        check_settings()
    assert "hunter2" not in str(raised.value)


def test_a_wrong_value_of_any_group_is_refused(monkeypatch):
    monkeypatch.setenv("MILLSTREAM_GATE_MIN_CLICKS", "none")
    with pytest.raises(ValueError, match="min_clicks"):
        check_settings()


def test_settings_that_are_right_pass(monkeypatch, tmp_path):
    configure(monkeypatch, tmp_path, "[trainer]\nseed = 3\n[model]\nnumeric = ['a', 'b']\n")
    monkeypatch.setenv("MILLSTREAM_HOME", str(tmp_path))
    check_settings()


def test_the_addresses_that_kubernetes_tells_of_its_services_are_no_settings(monkeypatch):
    monkeypatch.setenv("MILLSTREAM_TRAINER_SERVICE_HOST", "10.0.0.7")
    monkeypatch.setenv("MILLSTREAM_TRAINER_PORT_9104_TCP_ADDR", "10.0.0.7")
    with pytest.raises(ValueError, match="MILLSTREAM_TRAINER_SERVICE_HOST"):
        check_settings()
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    check_settings()


def test_every_group_is_known():
    assert set(settings_groups().values()) == set(MillstreamSettings.__subclasses__())


def test_the_origin_of_a_value_is_told(monkeypatch, tmp_path):
    configure(monkeypatch, tmp_path, "[join]\nwindow_seconds = 5\nquiet_seconds = 6\n")
    monkeypatch.setenv("MILLSTREAM_JOIN_QUIET_SECONDS", "7")
    origins = [origin(JoinSettings, field) for field in ("window_seconds", "quiet_seconds", "max_pending")]
    assert origins == ["file", "environment", "default"]
