from stream.simulator.drift import turned_share
from stream.simulator.settings import ShopSettings


def shares(drift: str, *moments: float) -> list[float]:
    settings = ShopSettings(drift=drift, turn_seconds=100, gradual_seconds=40)
    return [turned_share(settings, moment) for moment in moments]


def test_none_never_turns():
    assert shares("none", -50, 0, 100, 1e6) == [0, 0, 0, 0]


def test_sudden_turns_everything_at_the_turn():
    assert shares("sudden", -50, 99.9, 100, 1e6) == [0, 0, 1, 1]


def test_gradual_grows_evenly_around_the_turn():
    assert shares("gradual", 0, 80, 90, 100, 110, 120, 1e6) == [0, 0, 0.25, 0.5, 0.75, 1, 1]


def test_recurring_turns_and_turns_back():
    assert shares("recurring", -50, 50, 150, 250, 350) == [0, 0, 1, 0, 1]


def test_the_past_is_never_turned():
    assert all(shares(drift, -1, -1000) == [0, 0] for drift in ("none", "sudden", "gradual", "recurring"))
