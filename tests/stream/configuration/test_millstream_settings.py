import pytest
from pydantic import ValidationError

from scorer.model.settings import ModelSettings
from scorer.registry.settings import RegistrySettings
from stream.process.error_line import error_line
from stream.settings import JoinSettings


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch):
    for name in ("MILLSTREAM_CONFIG", "MILLSTREAM_JOIN_WINDOW_SECONDS", "MILLSTREAM_KAFKA_BOOTSTRAP"):
        monkeypatch.delenv(name, raising=False)


def test_argument_beats_environment_beats_file(tmp_path, monkeypatch):
    config = tmp_path / "millstream.toml"
    config.write_text("[join]\nwindow_seconds = 10\nquiet_seconds = 11\nmax_pending = 12\n")
    monkeypatch.setenv("MILLSTREAM_CONFIG", str(config))
    monkeypatch.setenv("MILLSTREAM_JOIN_QUIET_SECONDS", "21")
    settings = JoinSettings(max_pending=32)
    assert (settings.window_seconds, settings.quiet_seconds, settings.max_pending) == (10, 21, 32)


def test_a_missing_file_is_named(monkeypatch):
    monkeypatch.setenv("MILLSTREAM_CONFIG", "/nowhere.toml")
    with pytest.raises(ValueError, match=r"MILLSTREAM_CONFIG=/nowhere\.toml is not a file"):
        JoinSettings()


@pytest.mark.parametrize("text", ["window_seconds = 0", "windows = 5"])
def test_a_wrong_value_or_name_in_the_file_is_refused(tmp_path, monkeypatch, text):
    config = tmp_path / "millstream.toml"
    config.write_text(f"[join]\n{text}\n")
    monkeypatch.setenv("MILLSTREAM_CONFIG", str(config))
    with pytest.raises(ValidationError, match=text.split()[0]):
        JoinSettings()


def test_settings_are_frozen():
    with pytest.raises(ValidationError, match="frozen"):
        JoinSettings().window_seconds = 1


@pytest.mark.parametrize("text", ["price,rating", " price , rating,", '["price", "rating"]'])
def test_a_list_is_written_with_commas_or_as_json(monkeypatch, text):
    monkeypatch.setenv("MILLSTREAM_MODEL_NUMERIC", text)
    assert ModelSettings().numeric == ("price", "rating")


@pytest.mark.parametrize("text", ["[", '["a"', "[1]", '[["a"]]', "[" * 5000])
def test_a_list_that_is_none_is_refused_by_its_name(monkeypatch, text):
    monkeypatch.setenv("MILLSTREAM_MODEL_NUMERIC", text)
    with pytest.raises(ValidationError) as raised:
        ModelSettings()
    assert error_line(raised.value).startswith("MILLSTREAM_MODEL_NUMERIC=")


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_a_number_is_finite(monkeypatch, value):
    monkeypatch.setenv("MILLSTREAM_JOIN_WINDOW_SECONDS", value)
    with pytest.raises(ValidationError):
        JoinSettings()


@pytest.mark.parametrize("value", ["1e308", "1e18"])
def test_a_number_that_no_clock_can_wait_for_is_refused(monkeypatch, value):
    monkeypatch.setenv("MILLSTREAM_JOIN_WINDOW_SECONDS", value)
    with pytest.raises(ValidationError) as raised:
        JoinSettings()

    assert error_line(raised.value) == (f"MILLSTREAM_JOIN_WINDOW_SECONDS='{value}': input should be at most 4294967295")


def test_true_is_no_number(tmp_path, monkeypatch):
    config = tmp_path / "millstream.toml"
    config.write_text("[join]\nwindow_seconds = true\n")
    monkeypatch.setenv("MILLSTREAM_CONFIG", str(config))
    with pytest.raises(ValidationError, match="a number, not true or false"):
        JoinSettings()


@pytest.mark.parametrize("value", ["", " "])
def test_an_empty_path_is_not_the_current_directory(monkeypatch, value):
    monkeypatch.setenv("MILLSTREAM_REGISTRY_DIRECTORY", value)
    with pytest.raises(ValidationError, match="it names no path"):
        RegistrySettings()
