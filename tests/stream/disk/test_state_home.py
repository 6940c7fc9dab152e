from pathlib import Path

from stream.disk.state_home import state_directory


def test_state_lives_where_the_environment_says(tmp_path, monkeypatch):
    monkeypatch.setenv("MILLSTREAM_HOME", str(tmp_path))
    assert state_directory() == tmp_path
    monkeypatch.delenv("MILLSTREAM_HOME")
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    assert state_directory() == Path("/state/millstream")
