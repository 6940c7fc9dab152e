import pytest

from stream.events import Click, Impression
from stream.join.label_join import (
    MAX_CLICKS_PER_IMPRESSION,
    ClosedWindow,
    Label,
    LabelJoin,
    LostClick,
    Repeat,
    join_log,
)
from stream.settings import JoinSettings

T0 = 1_700_000_000_000
SETTINGS = JoinSettings(
    window_seconds=10.0, lateness_seconds=1.0, orphan_wait_seconds=3.0, quiet_seconds=5.0, late_memory_seconds=60.0
)

EARLY = SETTINGS.model_copy(update={"early_negative": True})


def shown(name: str, second: float) -> Impression:
    return Impression(impression_id=name, event_time_ms=T0 + int(second * 1000), item_id="x", item_text="red shoe")


def clicked(name: str, second: float, *, click: str = "", kind: str = "click") -> Click:
    return Click(
        click_id=click or f"{name}@{second}", impression_id=name, event_time_ms=T0 + int(second * 1000), kind=kind
    )


class Feed:
    """Gives a LabelJoin its records, one offset after the other, at the record time of their event time."""

    def __init__(self, settings: JoinSettings = SETTINGS, *, from_start: bool = True) -> None:
        self.join = LabelJoin(settings, 3, from_start=from_start)
        self.endings: list = []
        self._offset = 0

    def __call__(self, *events: Impression | Click) -> "Feed":
        for event in events:
            self.endings += self.join.add(event, self._offset, event.event_time_ms)
            self._offset += 1
        return self

    def silence(self, start: float, end: float, *, at_end: bool = True) -> "Feed":
        for second in range(int(start), int(end) + 1):
            self.endings += self.join.tick(T0 + second * 1000, at_end=at_end)
        return self

    @property
    def labels(self) -> dict[str, int]:
        return {
            ending.labeled.impression.impression_id: ending.labeled.label
            for ending in self.endings
            if isinstance(ending, Label)
        }

    @property
    def sent(self) -> list[tuple[str, int, int]]:
        """Impression, label and revision of every label, in order."""
        labels = [ending.labeled for ending in self.endings if isinstance(ending, Label)]
        return [(labeled.impression.impression_id, labeled.label, labeled.revision) for labeled in labels]

    @property
    def closed(self) -> list[ClosedWindow]:
        return [ending for ending in self.endings if isinstance(ending, ClosedWindow)]

    @property
    def lost(self) -> list[tuple[str, str]]:
        return [(ending.click.click_id, ending.reason) for ending in self.endings if isinstance(ending, LostClick)]


def test_a_label_leaves_when_the_watermark_has_passed_the_window_and_the_lateness():
    feed = Feed()(shown("a", 0), shown("b", 11.0))
    assert feed.labels == {}
    assert feed(shown("c", 11.001)).labels == {"a": 0}


def test_a_click_inside_the_window_makes_the_label_1():
    assert Feed()(shown("a", 0), clicked("a", 10.0), shown("b", 20)).labels == {"a": 1}


def test_a_label_does_not_leave_at_the_click():
    assert Feed()(shown("a", 0), clicked("a", 1)).endings == []


def test_a_click_with_an_event_time_after_the_window_is_late_even_while_the_window_is_open():
    feed = Feed()(shown("a", 0), clicked("a", 10.001, click="k"), shown("b", 20))
    assert feed.labels == {"a": 0}
    assert feed.lost == [("k", "late_click")]


def test_a_click_after_the_close_is_late():
    assert Feed()(shown("a", 0), shown("b", 12), clicked("a", 12, click="k")).lost == [("k", "late_click")]


def test_a_late_click_is_remembered_for_a_while_and_orphaned_after():
    feed = Feed()(shown("a", 0), shown("b", 12), shown("c", 75), clicked("a", 75, click="k"), shown("d", 80))
    assert feed.lost == [("k", "orphaned_click")]


def test_a_click_before_its_impression_joins_and_is_settled_with_it():
    feed = Feed()(clicked("a", 1.0, click="k"), shown("a", 0.5), shown("b", 20))
    label = next(ending for ending in feed.endings if isinstance(ending, Label))
    assert label.labeled.click_ids == ("k",)
    assert sorted(label.offsets) == [0, 1]


def test_a_click_without_impression_is_orphaned_after_its_wait():
    feed = Feed()(clicked("nobody", 0, click="k"), shown("b", 3.0))
    assert feed.lost == []
    assert feed(shown("c", 3.001)).lost == [("k", "orphaned_click")]


def test_the_strongest_kind_wins_and_all_clicks_are_named_in_order_of_time():
    feed = Feed()(
        shown("a", 0),
        clicked("a", 2, click="k2", kind="purchase"),
        clicked("a", 1, click="k1"),
        clicked("a", 3, click="k3", kind="cart"),
        shown("b", 20),
    )
    labeled = feed.endings[0].labeled
    assert (labeled.kind, labeled.click_ids) == ("purchase", ("k1", "k2", "k3"))


def test_labels_leave_in_offset_order_though_windows_end_in_another():
    feed = Feed()(shown("a", 0.9), shown("b", 0.0), shown("c", 11.5))
    assert feed.labels == {}
    feed(shown("d", 12))
    assert list(feed.labels) == ["a", "b"]


def test_a_label_names_its_record_and_when_it_was_due():
    join = LabelJoin(SETTINGS, 3)
    join.add(shown("a", 0), 17, T0 + 250)
    (label,) = join.flush()
    assert (label.labeled.source_partition, label.labeled.source_offset) == (3, 17)
    assert label.labeled.label_due_ms == T0 + 250 + 10_000


def test_an_event_time_ahead_of_its_record_holds_no_window_open():
    join = LabelJoin(SETTINGS, 0)
    join.add(shown("a", 50), 0, T0)
    assert join.oldest_due_ms == T0 + 10_000
    assert join.watermark_ms == T0


@pytest.mark.parametrize("again", [5, 20], ids=["open", "closed"])
def test_a_second_copy_of_an_impression_is_a_repeat(again):
    feed = Feed()(shown("a", 0), shown("b", again), shown("a", 0))
    assert isinstance(feed.endings[-1], Repeat)


@pytest.mark.parametrize("again", [5, 20], ids=["open", "closed"])
def test_a_second_copy_of_a_joined_click_is_a_repeat(again):
    feed = Feed()(shown("a", 0), clicked("a", 1, click="k"), shown("b", again), clicked("a", 1, click="k"))
    assert isinstance(feed.endings[-1], Repeat)


def test_a_second_copy_of_a_waiting_click_is_a_repeat():
    assert isinstance(Feed()(clicked("a", 1, click="k"), clicked("a", 1, click="k")).endings[-1], Repeat)


def test_a_second_copy_of_a_late_click_is_a_repeat():
    feed = Feed()(shown("a", 0), shown("b", 12), clicked("a", 12, click="k"), clicked("a", 12, click="k"))
    assert feed.lost == [("k", "late_click")]
    assert isinstance(feed.endings[-1], Repeat)


def test_clicks_beyond_the_bound_of_one_impression_are_lost_as_excess():
    feed = Feed()(shown("a", 0), *(clicked("a", 1, click=f"k{i}") for i in range(MAX_CLICKS_PER_IMPRESSION + 2)))
    assert [reason for _, reason in feed.lost] == ["excess_click"] * 2


def test_clicks_that_wait_beyond_the_bound_of_one_impression_are_lost_as_excess():
    clicks = [clicked("a", 1, click=f"k{i}") for i in range(MAX_CLICKS_PER_IMPRESSION + 2)]
    feed = Feed()(*clicks, clicked("a", 1, click="k0"), clicked("b", 1, click="k"))
    assert [reason for _, reason in feed.lost] == ["excess_click"] * 2
    assert feed.join.num_waiting == MAX_CLICKS_PER_IMPRESSION + 1
    feed(shown("a", 1))
    assert feed.join.num_waiting == 1
    feed(shown("c", 60))
    assert (feed.join.num_waiting, feed.lost[-1]) == (0, ("k", "orphaned_click"))


def test_cut_closes_the_oldest_windows_and_says_so():
    feed = Feed()(shown("a", 0), clicked("a", 1), shown("b", 2), shown("c", 3))
    labels = feed.join.cut(2)
    assert [(label.labeled.impression.impression_id, label.labeled.label) for label in labels] == [("a", 1), ("b", 0)]
    assert all(label.labeled.window_cut for label in labels)
    assert feed.join.num_pending == 1


def test_a_click_after_a_cut_is_late():
    feed = Feed()(shown("a", 0))
    feed.join.cut(1)
    assert feed(clicked("a", 1, click="k")).lost == [("k", "late_click")]


def test_silence_at_the_end_of_the_log_closes_windows_by_wall_time():
    assert Feed()(shown("a", 0)).silence(0, 12).labels == {"a": 0}


def test_silence_closes_nothing_before_its_own_length():
    short = JoinSettings(window_seconds=1.0, lateness_seconds=0.0, quiet_seconds=5.0)
    assert Feed(short)(shown("a", 0)).silence(0, 4).labels == {}
    assert Feed(short)(shown("a", 0)).silence(0, 5).labels == {"a": 0}


def test_silence_does_not_count_while_records_are_unread():
    assert Feed()(shown("a", 0)).silence(0, 100, at_end=False).labels == {}


def test_silence_starts_anew_when_the_broker_was_away():
    feed = Feed()(shown("a", 0)).silence(0, 4)
    feed.silence(30, 34)
    assert feed.labels == {}
    assert feed.silence(35, 42).labels == {"a": 0}


def test_silence_starts_anew_when_the_clock_is_set_back():
    feed = Feed()(shown("a", 0)).silence(1000, 1004)
    assert feed.silence(4, 12).labels == {}
    assert feed.silence(13, 16).labels == {"a": 0}


def test_a_record_ends_the_silence():
    feed = Feed()(shown("a", 0)).silence(0, 4)
    feed(clicked("a", 4)).silence(5, 9)
    assert feed.labels == {}


def test_silence_does_not_move_the_watermark():
    feed = Feed()(shown("a", 0)).silence(0, 30)
    assert feed(shown("b", 2), clicked("b", 11), shown("c", 14)).labels == {"a": 0, "b": 1}


def test_above_the_memory_bound_the_oldest_waiting_clicks_are_orphaned():
    few = SETTINGS.model_copy(update={"max_pending": 2})
    feed = Feed(few)(*(clicked(f"i{number}", 0, click=f"k{number}") for number in range(4)))
    assert feed.lost == [("k0", "orphaned_click"), ("k1", "orphaned_click")]
    assert feed.join.num_waiting == 2


def test_silence_gives_up_waiting_clicks():
    assert Feed()(clicked("nobody", 0, click="k")).silence(0, 6).lost == [("k", "orphaned_click")]


def test_after_a_restart_no_click_is_called_orphaned_until_a_window_has_been_read():
    feed = Feed(from_start=False)(shown("a", 100), clicked("gone", 101), shown("b", 105), clicked("none", 112))
    feed(shown("c", 130))
    reasons = {o.click.impression_id: o.reason for o in feed.endings if isinstance(o, LostClick)}
    assert reasons == {"gone": "unmatched_click", "none": "orphaned_click"}


def test_flush_closes_every_window_and_gives_up_waiting_clicks():
    feed = Feed()(shown("a", 0), clicked("a", 1), clicked("nobody", 1, click="k"))
    feed.endings += feed.join.flush()
    assert feed.labels == {"a": 1}
    assert feed.lost == [("k", "orphaned_click")]
    assert (feed.join.num_pending, feed.join.num_waiting) == (0, 0)


def test_join_log_labels_every_impression_of_a_log_in_its_order():
    events = [shown("a", 0), shown("b", 1), clicked("b", 5), clicked("a", 30), shown("c", 31)]
    labels = [(labeled.impression.impression_id, labeled.label) for labeled in join_log(events, SETTINGS)]
    assert labels == [("a", 0), ("b", 1), ("c", 0)]


def test_the_closed_memory_is_bounded_by_event_time():
    feed = Feed()(*(shown(f"i{second}", second) for second in range(1000)))
    assert len(feed.join._closed) <= 62


def test_early_an_impression_leaves_at_once_as_a_negative_that_settles_nothing():
    join = LabelJoin(EARLY, 3)
    (ending,) = join.add(shown("a", 0), 17, T0 + 250)
    assert (ending.labeled.label, ending.labeled.revision, ending.labeled.click_ids) == (0, 0, ())
    assert (ending.labeled.source_partition, ending.labeled.source_offset) == (3, 17)
    assert ending.labeled.label_due_ms == T0 + 250
    assert ending.offsets == ()
    assert join.num_pending == 1


def test_early_the_first_click_leaves_at_once_as_a_positive():
    feed = Feed(EARLY)(shown("a", 0), shown("b", 1), clicked("a", 4, click="k", kind="cart"))
    assert feed.sent == [("a", 0, 0), ("b", 0, 0), ("a", 1, 1)]
    positive = feed.endings[-1]
    assert (positive.labeled.kind, positive.labeled.click_ids) == ("cart", ("k",))
    assert (positive.labeled.source_offset, positive.labeled.label_due_ms) == (2, T0 + 4_000)
    assert positive.offsets == ()


def test_early_a_revision_is_due_at_the_event_time_of_its_click_which_a_second_copy_shares():
    join = LabelJoin(EARLY, 0)
    join.add(shown("a", 0), 0, T0)
    (positive,) = join.add(clicked("a", 2), 1, T0 + 9_000)
    assert positive.labeled.label_due_ms == T0 + 2_000


def test_early_a_revision_is_not_due_before_its_impression():
    feed = Feed(EARLY)(shown("a", 5), clicked("a", -100))
    assert feed.endings[-1].labeled.label_due_ms == T0 + 5_000


def test_early_a_further_click_makes_no_label_and_is_settled_as_such():
    feed = Feed(EARLY)(shown("a", 0), clicked("a", 2, click="k1"), clicked("a", 1, click="k2", kind="purchase"))
    assert feed.sent == [("a", 0, 0), ("a", 1, 1)]
    assert feed.lost == [("k2", "further_click")]


def test_early_a_click_before_its_impression_revises_it_as_soon_as_that_comes():
    feed = Feed(EARLY)(clicked("a", 1.0, click="k1"), clicked("a", 1.2, click="k2"), shown("a", 0.5))
    assert feed.sent == [("a", 0, 0), ("a", 1, 1)]
    assert [ending.labeled.source_offset for ending in feed.endings[:2]] == [2, 2]
    assert feed.lost == [("k2", "further_click")]


def test_early_the_close_of_a_window_settles_the_impression_and_its_first_click_and_sends_nothing():
    feed = Feed(EARLY)(clicked("a", 0.2), shown("a", 0), clicked("a", 3), shown("b", 4), shown("c", 12))
    assert feed.closed == [ClosedWindow(offsets=(1, 0), window_cut=False)]
    assert feed.sent == [("a", 0, 0), ("a", 1, 1), ("b", 0, 0), ("c", 0, 0)]


@pytest.mark.parametrize("order", [(10.001, 10.001), (12, 5)], ids=["event time", "after the close"])
def test_early_a_late_click_makes_no_positive(order):
    other, click = order
    feed = Feed(EARLY)(shown("a", 0), shown("b", other), clicked("a", click, click="k"))
    assert ("a", 1, 1) not in feed.sent
    assert feed.lost == [("k", "late_click")]


@pytest.mark.parametrize("again", [5, 20], ids=["open", "closed"])
@pytest.mark.parametrize("copy", [1, 2], ids=["first click", "further click"])
def test_early_a_second_copy_of_a_click_is_a_repeat(again, copy):
    clicks = [clicked("a", second, click=f"k{second}") for second in (1, 2)]
    feed = Feed(EARLY)(shown("a", 0), *clicks, shown("b", again), clicks[copy - 1])
    assert isinstance(feed.endings[-1], Repeat)


def test_early_a_second_copy_of_an_impression_makes_no_second_negative():
    feed = Feed(EARLY)(shown("a", 0), shown("a", 0), clicked("a", 1), shown("a", 0), shown("b", 20), shown("a", 0))
    assert feed.sent == [("a", 0, 0), ("a", 1, 1), ("b", 0, 0)]


def test_early_a_window_that_is_cut_takes_no_positive_any_more():
    feed = Feed(EARLY)(shown("a", 0))
    assert feed.join.cut(1) == [ClosedWindow(offsets=(0,), window_cut=True)]
    assert feed(clicked("a", 1, click="k")).lost == [("k", "late_click")]


def test_early_silence_closes_windows_without_a_label():
    feed = Feed(EARLY)(shown("a", 0)).silence(0, 12)
    assert feed.sent == [("a", 0, 0)]
    assert feed.closed == [ClosedWindow(offsets=(0,), window_cut=False)]


def test_early_labels_leave_with_rising_offsets():
    feed = Feed(EARLY)(shown("a", 0), clicked("b", 1), shown("c", 1), clicked("a", 2), shown("b", 0.5), clicked("c", 3))
    offsets = [ending.labeled.source_offset for ending in feed.endings if isinstance(ending, Label)]
    assert offsets == sorted(offsets)
    assert len(offsets) == 6


def test_early_join_log_gives_negatives_and_then_positives():
    events = [shown("a", 0), shown("b", 1), clicked("b", 5), clicked("b", 6), clicked("a", 30), shown("c", 31)]
    labels = [(row.impression.impression_id, row.label, row.revision) for row in join_log(events, EARLY)]
    assert labels == [("a", 0, 0), ("b", 0, 0), ("b", 1, 1), ("c", 0, 0)]
