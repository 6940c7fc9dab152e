import threading

import pytest

from stream.events import Click, Impression, decode_event
from stream.play.ledger import read_producer_ledger
from stream.play.playback import Playback
from stream.play.player import PlayerOptions
from stream.play.producer import EventRecord
from stream.play.recorded_log import write_events
from stream.play.replay import Replayer, ReplayOptions, replay, with_clicks
from stream.settings import KafkaSettings, MetricsSettings
from tests.doubles import ManualClock


def shown(name: str, time_ms: int) -> Impression:
    return Impression(impression_id=name, event_time_ms=time_ms, item_id="i", item_text="t")


def click(name: str, time_ms: int) -> Click:
    return Click(click_id=f"{name}-click-{time_ms}", impression_id=name, event_time_ms=time_ms)


class Sent:
    def __init__(self) -> None:
        self.records: list[EventRecord] = []

    def send(self, record: EventRecord) -> None:
        self.records.append(record)

    def settle(self, now_ms: int) -> None:
        pass


def played(events, *, speed=1.0, rate=None, window_seconds=5.0) -> list[tuple[str, str, int]]:
    """Play events on a manual clock: (kind, impression id, event time after the start) in the order of sending."""
    clock, sent = ManualClock(), Sent()
    start = clock()
    playback = Playback(
        sent, rate=rate, seconds=None, stop=threading.Event(), clock=lambda: clock() / 1000, wait=clock.advance
    )
    replayer = Replayer(playback, window_seconds, speed)
    for group in with_clicks(events, 2 * window_seconds):
        assert replayer.play(group)
    assert playback.finish() == 0
    for record in sent.records:
        assert decode_event(record.value).event_time_ms == record.event_time_ms
    return [(record.kind, record.impression_id or "", record.event_time_ms - start) for record in sent.records]


def test_gaps_shrink_by_the_speed_and_click_delays_do_not():
    events = [shown("a", 1_000), click("a", 3_000), shown("b", 61_000)]
    assert played(events, speed=10) == [("impression", "a", 0), ("click", "a", 2_000), ("impression", "b", 6_000)]


def test_a_rate_cap_never_parts_a_click_from_its_impression():
    rows = [shown(f"r{n:03d}", 1_000) for n in range(100)]
    records = played([*rows, click("r050", 2_000)], rate=10)
    times = {kind: time for kind, name, time in records if name == "r050"}
    assert times["click"] - times["impression"] == 1_000


def test_a_click_after_the_window_is_late():
    assert ("late_click", "a", 6_000) in played([shown("a", 1_000), click("a", 7_000)])


def test_a_click_far_after_the_window_is_late_too():
    events = [shown("a", 1_000), shown("b", 40_000), click("a", 45_000)]
    assert ("late_click", "a", 44_000) in played(events)


def test_a_click_on_nothing_is_orphaned():
    assert ("orphaned_click", "zz", 0) in played([shown("a", 1_000), click("zz", 1_000)])


def test_a_click_logged_before_its_impression_finds_it():
    assert played([click("a", 1_500), shown("a", 1_000)]) == [("impression", "a", 0), ("click", "a", 500)]


def test_an_impression_logged_twice_is_a_repeat():
    kinds = [kind for kind, _name, _time in played([shown("a", 1_000), shown("a", 1_000)])]
    assert kinds == ["impression", "repeated_impression"]


def test_a_click_of_a_repeated_impression_is_sent_once():
    records = played([shown("a", 1_000), shown("a", 1_000), click("a", 2_000)])
    assert sum(kind == "click" for kind, _name, _time in records) == 1


@pytest.mark.parametrize(("options", "field"), [({"speed": 0.5}, "speed"), ({"click_delay_seconds": 9}, "click_delay")])
def test_options_out_of_range_are_refused_by_name(tmp_path, options, field):
    with pytest.raises(ValueError, match=field):
        replay(
            tmp_path / "log.jsonl",
            KafkaSettings(),
            MetricsSettings(port=0),
            PlayerOptions(window_seconds=5, ledger=tmp_path / "ledger.parquet"),
            ReplayOptions(**options),
        )


@pytest.mark.kafka
def test_counts_and_ledger_are_those_of_the_log(kafka, tmp_path):
    events = [shown(f"i{n}", 1_000 + n) for n in range(50)] + [click(f"i{n}", 2_000) for n in range(10)]
    write_events(tmp_path / "log.parquet", [*events, click("nobody", 2_100)])
    counts = replay(
        tmp_path / "log.parquet",
        kafka,
        MetricsSettings(port=0),
        PlayerOptions(window_seconds=2, ledger=tmp_path / "ledger.parquet", total=40),
        ReplayOptions(skip=5),
    )
    assert (counts.impressions, counts.clicks, counts.clicked_impressions, counts.orphaned_clicks) == (40, 5, 5, 1)
    ledger = read_producer_ledger(tmp_path / "ledger.parquet")
    assert ledger.num_rows == 46
    assert sum(label or 0 for label in ledger["label"].to_pylist()) == 5
