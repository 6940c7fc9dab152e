import pytest

from stream.simulator.settings import ShopSettings


def test_late_clicks_must_come_after_prompt_ones():
    with pytest.raises(ValueError, match="late_click_seconds"):
        ShopSettings(click_seconds=5, late_click_seconds=5)


def test_bots_may_not_make_most_of_the_clicks():
    with pytest.raises(ValueError, match="bot_share"):
        ShopSettings(ctr=0.01, bot_share=0.02)


def test_settings_come_from_the_environment(monkeypatch):
    monkeypatch.setenv("MILLSTREAM_SHOP_DRIFT", "recurring")
    assert ShopSettings().drift == "recurring"
