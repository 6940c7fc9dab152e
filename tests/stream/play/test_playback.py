import threading

import pytest

from stream.play.playback import DRAIN_SECONDS, Playback
from stream.play.producer import EventRecord
from tests.doubles import ManualClock


class Sent:
    """Keeps what was sent, with the time of sending."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.records: list[tuple[int, str]] = []

    def send(self, record: EventRecord) -> None:
        self.records.append((self.clock() - START_MS, record.value.decode()))

    def settle(self, now_ms: int) -> None:
        assert now_ms <= self.clock()


START_MS = ManualClock().now_ms


def record(name: str) -> EventRecord:
    return EventRecord(kind="click", key=b"k", value=name.encode(), event_time_ms=1)


class Fixture:
    def __init__(self, **options) -> None:
        self.clock = ManualClock()
        self.sent = Sent(self.clock)
        self.stop = threading.Event()
        options = {"rate": None, "seconds": None} | options
        self.playback = Playback(
            self.sent, stop=self.stop, clock=lambda: self.clock() / 1000, wait=self.clock.advance, **options
        )


def test_a_moment_is_stamped_with_the_wall_clock_when_it_is_due():
    fixture = Fixture()
    assert fixture.playback.begin(2.5, 1) == START_MS + 2500


def test_playing_behind_stamps_the_time_as_it_is():
    fixture = Fixture()
    fixture.clock.advance(10)
    assert fixture.playback.begin(2.5, 1) == START_MS + 10_000


def test_a_record_is_sent_when_it_is_due_and_not_before():
    fixture = Fixture()
    fixture.playback.schedule(record("late"), START_MS + 3_000)
    fixture.playback.schedule(record("soon"), START_MS + 1_000)
    fixture.playback.begin(2.0, 1)
    assert fixture.sent.records == [(1_000, "soon")]
    fixture.playback.begin(4.0, 1)
    assert fixture.sent.records == [(1_000, "soon"), (3_000, "late")]


def test_records_due_together_keep_their_order():
    fixture = Fixture()
    for name in "abc":
        fixture.playback.schedule(record(name), START_MS)
    fixture.playback.begin(0.0, 1)
    assert [name for _time, name in fixture.sent.records] == ["a", "b", "c"]


def test_the_rate_cap_spaces_rows():
    fixture = Fixture(rate=10)
    stamps = [fixture.playback.begin(0.0, 5) for _ in range(7)]
    seconds = [(stamp - START_MS) / 1000 for stamp in stamps if stamp]
    # One second may be caught up at the start; from then on ten rows a second.
    assert seconds[-1] - seconds[2] == pytest.approx(2.0, abs=0.01)


def test_it_ends_after_its_seconds():
    fixture = Fixture(seconds=5)
    assert fixture.playback.begin(4.9, 1) is not None
    assert fixture.playback.begin(5.1, 1) is None
    assert fixture.clock() == START_MS + 5_000


def test_finishing_sends_everything_that_is_due_later():
    fixture = Fixture(seconds=5)
    fixture.playback.schedule(record("later"), START_MS + 60_000)
    assert fixture.playback.finish() == 0
    assert fixture.sent.records == [(60_000, "later")]


def test_a_stop_ends_it_at_once():
    fixture = Fixture()
    fixture.stop.set()
    assert fixture.playback.begin(0.0, 1) is None


def test_after_a_stop_open_windows_still_see_their_clicks_but_not_for_ever():
    fixture = Fixture()
    fixture.playback.schedule(record("in time"), START_MS + 3_000)
    fixture.playback.schedule(record("too far"), START_MS + round(DRAIN_SECONDS * 1000) + 1_000)
    fixture.stop.set()
    assert fixture.playback.finish() == 1
    assert fixture.sent.records == [(3_000, "in time")]
