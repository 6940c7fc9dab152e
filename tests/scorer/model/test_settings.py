import pytest

from scorer.model.settings import ModelSettings


def test_rows_too_short_for_query_and_item_are_refused():
    with pytest.raises(ValueError, match=r"max_tokens=40 cannot hold.*at least 51"):
        ModelSettings(max_tokens=40)


def test_settings_come_from_the_environment(monkeypatch):
    monkeypatch.setenv("MILLSTREAM_MODEL_THREADS", "2")
    assert ModelSettings().threads == 2
