import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from stream.events import Click, Impression, decode_event, decode_labeled, encode
from stream.first_copies import FirstCopies
from stream.join.metrics import JoinMetrics
from stream.join.partition_join import PartitionJoin
from stream.record import Delivery
from stream.settings import JoinSettings

T0 = 1_700_000_000_000
WINDOW_MS, LATENESS_MS, ORPHAN_WAIT_MS = 10_000, 1_000, 3_000
SETTINGS = JoinSettings(
    window_seconds=WINDOW_MS / 1000,
    lateness_seconds=LATENESS_MS / 1000,
    orphan_wait_seconds=ORPHAN_WAIT_MS / 1000,
    quiet_seconds=5.0,
    max_ahead_seconds=60.0,
)
EARLY = SETTINGS.model_copy(update={"early_negative": True})


def partition_join(first_offset: int = 0, join: JoinSettings = SETTINGS) -> PartitionJoin:
    return PartitionJoin(join, "events", 1, first_offset, JoinMetrics(CollectorRegistry()))


def impression(name: str, time_ms: int = T0) -> Impression:
    return Impression(impression_id=name, event_time_ms=time_ms, item_id="x", item_text="red shoe")


def click(name: str, click_id: str, time_ms: int = T0) -> Click:
    return Click(click_id=click_id, impression_id=name, event_time_ms=time_ms)


def drain(join: PartitionJoin) -> list[Delivery]:
    sent = [settlement.delivery for settlement in join.outbox]
    join.confirm(len(sent), T0)
    return sent


def test_nothing_may_be_acknowledged_before_the_label_is_confirmed():
    join = partition_join()
    join.receive(b"a", encode(impression("a")), 0, T0)
    join.receive(b"b", encode(impression("b", T0 + 20_000)), 1, T0 + 20_000)
    assert (len(join.outbox), join.position) == (1, 0)
    join.confirm(1, T0)
    assert (len(join.outbox), join.position) == (0, 1)


def test_a_click_before_its_impression_is_acknowledged_only_with_the_label():
    join = partition_join()
    join.receive(b"a", encode(click("a", "k")), 0, T0)
    join.receive(b"a", encode(impression("a")), 1, T0)
    join.receive(b"b", encode(impression("b", T0 + 5_000)), 2, T0 + 5_000)
    drain(join)
    assert join.position == 0
    join.receive(b"c", encode(impression("c", T0 + 20_000)), 3, T0 + 20_000)
    drain(join)
    assert join.position == 3


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (None, b"empty"),
        (b"{", b"malformed"),
        (b"x" * 70_000, b"oversized"),
        (encode(impression("a")).replace(b'"schema_version":1', b'"schema_version":99'), b"unknown_version"),
        (encode(impression("a", T0 + 61_000)), b"future_time"),
        (encode(impression("a", T0 // 1000)), b"past_time"),
        (encode(click("a", "k", T0 // 1000)), b"past_time"),
    ],
)
def test_a_record_that_cannot_be_used_becomes_a_dead_letter_with_its_bytes(raw, reason):
    join = partition_join()
    join.receive(b"key", raw, 7, T0)
    (delivery,) = drain(join)
    assert delivery.topic == "dead-letters"
    assert (delivery.record.key, delivery.record.value) == (b"key", raw)
    assert delivery.record.headers["millstream.reason"] == reason
    assert delivery.record.headers["millstream.offset"] == b"7"
    assert join.position == 8


def test_a_lost_click_keeps_its_original_bytes():
    join = partition_join()
    raw = encode(click("nobody", "k")).replace(b":", b": ")
    join.receive(b"key", raw, 0, T0)
    join.receive(b"b", encode(impression("b", T0 + 5_000)), 1, T0 + 5_000)
    (delivery,) = drain(join)
    assert (delivery.record.key, delivery.record.value) == (b"key", raw)
    assert delivery.record.headers["millstream.reason"] == b"orphaned_click"


def test_a_repeat_is_acknowledged_in_its_turn():
    join = partition_join()
    for offset in range(2):
        join.receive(b"a", encode(impression("a")), offset, T0)
    assert join.position == 0
    join.cut(1)
    drain(join)
    assert join.position == 2


def test_what_is_counted_is_what_was_confirmed():
    registry = CollectorRegistry()
    join = PartitionJoin(SETTINGS, "events", 1, 0, JoinMetrics(registry))
    join.receive(b"a", encode(impression("a")), 0, T0)
    join.receive(b"a", encode(click("a", "k1")), 1, T0)
    join.receive(b"a", encode(click("a", "k2")), 2, T0)
    join.cut(1)
    assert registry.get_sample_value("millstream_stream_labels_total", {"label": "1"}) == 0
    drain(join)
    assert registry.get_sample_value("millstream_stream_labels_total", {"label": "1"}) == 1
    assert registry.get_sample_value("millstream_stream_clicks_total", {"outcome": "joined"}) == 1
    assert registry.get_sample_value("millstream_stream_clicks_total", {"outcome": "further"}) == 1
    assert registry.get_sample_value("millstream_stream_windows_cut_total") == 1


def test_early_labels_are_sent_at_once_and_acknowledged_when_the_window_has_closed():
    join = partition_join(join=EARLY)
    join.receive(b"a", encode(impression("a")), 0, T0)
    join.receive(b"a", encode(click("a", "k")), 1, T0)
    assert [decode_labeled(delivery.record.value).label for delivery in drain(join)] == [0, 1]
    assert join.position == 0
    for second in range(20):
        join.tick(T0 + 1000 * second, at_end=True)
    assert (len(join.outbox), join.position) == (0, 2)


def test_early_a_window_that_closes_before_its_label_is_confirmed_is_acknowledged_only_then():
    join = partition_join(join=EARLY)
    join.receive(b"a", encode(impression("a")), 0, T0)
    join.receive(b"a", encode(click("a", "k")), 1, T0)
    join.cut(1)
    join.confirm(1, T0)
    assert join.position == 0
    join.confirm(1, T0)
    assert join.position == 2


def test_early_a_further_click_keeps_its_original_bytes_as_a_dead_letter():
    join = partition_join(join=EARLY)
    raw = encode(click("a", "k2")).replace(b":", b": ")
    join.receive(b"a", encode(impression("a")), 0, T0)
    join.receive(b"a", encode(click("a", "k1")), 1, T0)
    join.receive(b"a", raw, 2, T0)
    *_, letter = drain(join)
    assert (letter.topic, letter.record.value) == ("dead-letters", raw)
    assert letter.record.headers["millstream.reason"] == b"further_click"


def test_early_every_label_click_and_cut_window_is_counted_once():
    registry = CollectorRegistry()
    join = PartitionJoin(EARLY, "events", 1, 0, JoinMetrics(registry))
    join.receive(b"a", encode(impression("a")), 0, T0)
    join.receive(b"a", encode(click("a", "k1")), 1, T0)
    join.receive(b"a", encode(click("a", "k2")), 2, T0)
    join.cut(1)
    assert registry.get_sample_value("millstream_stream_windows_cut_total") == 0
    drain(join)
    assert registry.get_sample_value("millstream_stream_labels_total", {"label": "0"}) == 1
    assert registry.get_sample_value("millstream_stream_labels_total", {"label": "1"}) == 1
    assert registry.get_sample_value("millstream_stream_clicks_total", {"outcome": "joined"}) == 1
    assert registry.get_sample_value("millstream_stream_clicks_total", {"outcome": "further"}) == 1
    assert registry.get_sample_value("millstream_stream_windows_cut_total") == 1


@st.composite
def logs(draw: st.DrawFn) -> list[Impression | Click]:
    """A partition: out of event-time order by at most the lateness, with repeats, orphans, early and late clicks."""
    seed = draw(st.integers(0, 2**32 - 1))
    num_impressions = draw(st.integers(1, 40))
    dice = random.Random(seed)
    events: list[Impression | Click] = []
    for number in range(num_impressions):
        shown_ms = T0 + dice.randrange(30_000)
        events.append(impression(f"i{number}", shown_ms))
        for k in range(dice.choice((0, 0, 1, 3))):
            # An early click and the disorder of both records must fit the orphan wait together.
            delay_ms = dice.randrange(LATENESS_MS - ORPHAN_WAIT_MS, WINDOW_MS + 4_000)
            events.append(click(f"i{number}", f"i{number}-{k}", shown_ms + delay_ms))
    events += [click("nobody", f"orphan-{k}", T0 + dice.randrange(30_000)) for k in range(dice.randrange(3))]
    events += [event for event in events if dice.random() < 0.1]
    return sorted(events, key=lambda event: event.event_time_ms + dice.randrange(LATENESS_MS))


def truth_of(log: list[Impression | Click]) -> dict[str, set[str]]:
    shown = {event.impression_id: event.event_time_ms for event in log if isinstance(event, Impression)}
    joined: dict[str, set[str]] = {name: set() for name in shown}
    for event in log:
        name = event.impression_id
        if isinstance(event, Click) and name in shown and event.event_time_ms <= shown[name] + WINDOW_MS:
            joined[name].add(event.click_id)
    return joined


class Broker:
    """A partition of `events`, the commit of its group, and what was written; the worker crashes when it is told."""

    def __init__(self, log: list[Impression | Click], dice: random.Random, join: JoinSettings = SETTINGS) -> None:
        self.log = log
        self.dice = dice
        self._settings = join
        self.committed = 0
        self.runs: list[list[Delivery]] = []

    def run(self, num_reads: int) -> None:
        """Read so many records from the commit on, then crash: some of the last sends arrive, unconfirmed."""
        join, written = partition_join(self.committed, self._settings), []
        self.runs.append(written)
        for offset in range(self.committed, min(self.committed + num_reads, len(self.log))):
            self._read(join, offset)
            if self.dice.random() < 0.3:
                written += drain(join)
                if self.dice.random() < 0.5:
                    self.committed = max(self.committed, join.position)
        confirmed = list(join.outbox)[: self.dice.randrange(len(join.outbox) + 1)]
        written += [settlement.delivery for settlement in confirmed]

    def finish(self) -> None:
        """Read to the end, then let silence close what is open."""
        join = partition_join(self.committed, self._settings)
        for offset in range(self.committed, len(self.log)):
            self._read(join, offset)
        for second in range(60):
            join.tick(T0 + 1000 * second, at_end=True)
        self.runs.append(drain(join))
        self.committed = join.position

    def _read(self, join: PartitionJoin, offset: int) -> None:
        event = self.log[offset]
        join.receive(b"", encode(event), offset, event.event_time_ms)


@settings(max_examples=150, deadline=None)
@given(log=logs(), seed=st.integers(0, 2**32 - 1), crashes=st.lists(st.integers(1, 60), max_size=4))
def test_any_interleaving_and_any_crash_gives_the_same_labels_and_loses_no_click(log, seed, crashes):
    broker = Broker(log, random.Random(seed))
    for num_reads in crashes:
        broker.run(num_reads)
    broker.finish()

    first: dict[str, set[str]] = {}
    letters: set[bytes] = set()
    for run in broker.runs:
        offsets = []
        for delivery in run:
            if delivery.topic == "dead-letters":
                letters.add(delivery.record.value)
                continue
            labeled = decode_labeled(delivery.record.value)
            offsets.append(labeled.source_offset)
            first.setdefault(labeled.impression.impression_id, set(labeled.click_ids))
        assert offsets == sorted(set(offsets)), "labels leave in offset order"

    assert first == truth_of(log)
    joined = set().union(*first.values())
    lost = {event.click_id for event in log if isinstance(event, Click) and encode(event) in letters}
    assert {event.click_id for event in log if isinstance(event, Click)} == joined | lost
    assert broker.committed == len(log)
    if not crashes:
        assert not joined & lost, "a click is joined or lost, never both"


@settings(max_examples=150, deadline=None)
@given(log=logs(), seed=st.integers(0, 2**32 - 1), crashes=st.lists(st.integers(1, 60), max_size=4))
def test_early_any_interleaving_and_any_crash_revises_what_was_clicked_once_and_loses_no_click(log, seed, crashes):
    broker = Broker(log, random.Random(seed), EARLY)
    for num_reads in crashes:
        broker.run(num_reads)
    broker.finish()

    copies = FirstCopies()
    told: list[tuple[str, int]] = []
    joined: dict[str, tuple[str, ...]] = {}
    named: set[str] = set()
    reasons: dict[str, set[bytes]] = {}
    for run in broker.runs:
        offsets = []
        for delivery in run:
            if delivery.topic == "dead-letters":
                lost = decode_event(delivery.record.value)
                reasons.setdefault(lost.click_id, set()).add(delivery.record.headers["millstream.reason"])
                continue
            labeled = decode_labeled(delivery.record.value)
            offsets.append(labeled.source_offset)
            named.update(labeled.click_ids)
            if copies.observe(labeled) == "new":
                told.append((labeled.impression.impression_id, labeled.label))
                joined[labeled.impression.impression_id] = labeled.click_ids
        assert offsets == sorted(offsets), "labels leave in offset order"

    truth = truth_of(log)
    assert sorted(told) == sorted([(name, 0) for name in truth] + [(name, 1) for name in truth if truth[name]])
    for name, inside in truth.items():
        assert len(joined[name]) == (1 if inside else 0), "a positive names the click that made it"
        assert set(joined[name]) <= inside
        further = inside - set(joined[name])
        assert all(click_id in named or b"further_click" in reasons[click_id] for click_id in further)
    assert named <= set().union(*truth.values()), "no copy names a click that came too late"
    everywhere = set().union(*truth.values())
    assert all(reasons[e.click_id] for e in log if isinstance(e, Click) and e.click_id not in everywhere)
    assert broker.committed == len(log)
