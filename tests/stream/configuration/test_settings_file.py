"""The settings file: any part of it may be missing, and what is wrong with it is one line."""

from pathlib import Path

import pytest

from scorer.model.settings import ModelSettings
from stream.configuration.settings_file import read_settings_file
from stream.settings import JoinSettings, KafkaSettings


def use(monkeypatch: pytest.MonkeyPatch, path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    monkeypatch.setenv("MILLSTREAM_CONFIG", str(path))
    return path


@pytest.mark.parametrize("content", [b"", b"# nothing\n", b"[join]\nwindow_seconds = 7\n", b"[kafka]\n"])
def test_a_file_may_hold_any_part_of_the_tables(tmp_path, monkeypatch, content):
    use(monkeypatch, tmp_path / "part.toml", content)
    assert JoinSettings().window_seconds == (7 if b"7" in content else 1800)
    assert KafkaSettings().partitions == 4
    assert ModelSettings().num_layers == 1


def test_a_byte_order_mark_does_no_harm(tmp_path, monkeypatch):
    use(monkeypatch, tmp_path / "windows.toml", b"\xef\xbb\xbf[join]\r\nwindow_seconds = 7\r\n")
    assert JoinSettings().window_seconds == 7


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[join\n", "is no TOML"),
        (b"[join]\nwindow_seconds = ten\n", "is no TOML"),
        (b"[join]\n[join]\n", "is no TOML"),
        (b"\xff\xfe[\x00j\x00", "is not UTF-8"),
        (b"[join]\ninstance = '\xe9'\n", "is not UTF-8"),
        (b"x = " + b"[" * 5000, "is nested too deep"),
        (b"join = 5\n", "join is no table"),
        (b"[[join]]\nwindow_seconds = 5\n", "join is no table"),
        (b"window_seconds = 5\n", "window_seconds is no table"),
    ],
)
def test_what_is_wrong_with_the_file_is_one_line_that_names_it(tmp_path, monkeypatch, content, message):
    path = use(monkeypatch, tmp_path / "wrong.toml", content)
    with pytest.raises(ValueError, match=message) as raised:
        JoinSettings()
    assert f"MILLSTREAM_CONFIG={path}" in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", ["absent.toml", "", "x" * 5000])
def test_what_is_no_file_is_named(tmp_path, monkeypatch, name):
    monkeypatch.setenv("MILLSTREAM_CONFIG", str(tmp_path / name))
    with pytest.raises(ValueError, match=r"MILLSTREAM_CONFIG=.*(is not a file|cannot be read)"):
        read_settings_file()
