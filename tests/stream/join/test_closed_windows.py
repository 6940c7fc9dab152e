from stream.events import Click
from stream.join.closed_windows import ClosedWindows


def click(name: str, on: str = "a") -> Click:
    return Click(click_id=name, impression_id=on, event_time_ms=1)


def test_an_impression_is_remembered_until_the_watermark_is_far_past_its_window():
    closed = ClosedWindows(memory_ms=100)
    closed.add("a", 1_000, ())
    closed.forget(1_100)
    assert "a" in closed
    closed.forget(1_101)
    assert "a" not in closed


def test_a_click_repeats_one_from_inside_the_window_or_after_it():
    closed = ClosedWindows(memory_ms=100)
    closed.add("a", 1_000, ["k"])
    assert [closed.repeats(click(name)) for name in ("k", "late", "late")] == [True, False, True]


def test_a_forgotten_impression_takes_its_clicks_along():
    closed = ClosedWindows(memory_ms=100)
    closed.add("a", 1_000, ["k"])
    closed.forget(2_000)
    assert not closed.repeats(click("k"))


def test_memory_is_bounded():
    closed = ClosedWindows(memory_ms=60)
    for time_ms in range(1_000):
        closed.add(f"i{time_ms}", time_ms, ())
        closed.forget(time_ms)
    assert len(closed) == 61


def test_of_the_late_clicks_on_one_impression_so_many_are_remembered_and_no_more():
    closed = ClosedWindows(memory_ms=60, max_clicks=3)
    closed.add("a", 1_000, ["k"])
    assert [closed.repeats(click(f"late{number}")) for number in (0, 1, 2, 2, 1)] == [False, False, False, False, True]
