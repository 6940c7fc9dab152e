import threading
from collections import Counter
from itertools import islice

import pytest

from stream.events import Impression, decode_event
from stream.play.playback import Playback
from stream.play.producer import EventRecord
from stream.simulator.settings import ShopSettings
from stream.simulator.shop import Shop
from stream.simulator.traffic import Traffic
from tests.doubles import ManualClock

WINDOW_SECONDS = 4.0
START_MS = ManualClock().now_ms
CLEAN = {
    "malformed_share": 0,
    "unknown_version_share": 0,
    "oversized_share": 0,
    "repeated_share": 0,
    "orphaned_share": 0,
    "early_click_share": 0,
}


class Sent:
    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.records: list[tuple[int, EventRecord]] = []

    def send(self, record: EventRecord) -> None:
        self.records.append((self.clock(), record))

    def settle(self, now_ms: int) -> None:
        pass


def played(settings: ShopSettings, impressions: int = 1_200) -> tuple[list[tuple[int, EventRecord]], Traffic]:
    """Play a shop that was made for another time, on a manual clock: (time of sending, record)."""
    clock = ManualClock()
    sent = Sent(clock)
    playback = Playback(
        sent, rate=None, seconds=None, stop=threading.Event(), clock=lambda: clock() / 1000, wait=clock.advance
    )
    traffic = Traffic(settings, WINDOW_SECONDS, playback, run="run")
    for page in islice(Shop(settings, start_ms=1_000), impressions // settings.list_size):
        assert traffic.play(page)
    assert playback.finish() == 0
    return sent.records, traffic


def test_events_are_stamped_with_the_time_they_are_sent_at():
    records, _ = played(ShopSettings(**CLEAN))
    assert all(abs(sent_ms - record.event_time_ms) <= 1 for sent_ms, record in records)
    assert records[0][0] == START_MS


def test_a_click_keeps_its_delay_and_is_late_only_after_the_window():
    records, _ = played(ShopSettings(**CLEAN, late_click_share=0.3))
    shown = {record.impression_id: record.event_time_ms for _, record in records if record.kind == "impression"}
    for _, record in records:
        if record.kind != "impression":
            delay = record.event_time_ms - shown[record.impression_id]
            assert (record.kind == "late_click") == (delay > 1000 * WINDOW_SECONDS)
    assert Counter(record.kind for _, record in records)["late_click"] > 20


def test_a_repeat_is_the_same_bytes_again():
    records, _ = played(ShopSettings(**CLEAN | {"repeated_share": 0.1}))
    first = {record.value for _, record in records if record.kind in {"impression", "click", "late_click"}}
    again = [record for _, record in records if record.kind.startswith("repeated")]
    assert len(again) > 50
    assert all(record.value in first for record in again)


def test_a_held_up_impression_comes_after_its_click_and_inside_its_window():
    records, _ = played(ShopSettings(**CLEAN | {"early_click_share": 0.4}))
    clicked: set[str] = set()
    held_up = 0
    for sent_ms, record in records:
        if record.kind == "click":
            clicked.add(record.impression_id or "")
        elif record.kind == "impression" and record.impression_id in clicked:
            held_up += 1
            assert sent_ms < record.event_time_ms + 1000 * WINDOW_SECONDS
    assert held_up > 20


def test_the_true_probability_travels_with_the_impression_only():
    records, _ = played(ShopSettings(repeated_share=0.1))
    for _, record in records:
        assert (record.click_probability is not None) == (record.kind == "impression")


def test_what_can_be_decoded_is_keyed_by_its_impression():
    records, _ = played(ShopSettings(**CLEAN))
    for _, record in records:
        event = decode_event(record.value)
        assert record.key.decode() == event.impression_id == record.impression_id


def test_the_turn_is_noted_with_the_time_of_its_first_page():
    records, traffic = played(ShopSettings(**CLEAN, turn_seconds=3.0))
    assert traffic.turn_ms == pytest.approx(START_MS + 3_000, abs=50)
    assert any(isinstance(decode_event(record.value), Impression) for _, record in records)


@pytest.mark.parametrize("window_seconds", [1.0, 12.0, 1800.0])
def test_a_window_that_mixes_prompt_and_late_clicks_is_refused(window_seconds):
    clock = ManualClock()
    playback = Playback(Sent(clock), rate=None, seconds=None, stop=threading.Event())
    with pytest.raises(ValueError, match="MILLSTREAM_JOIN_WINDOW_SECONDS"):
        Traffic(ShopSettings(), window_seconds, playback, run="run")
