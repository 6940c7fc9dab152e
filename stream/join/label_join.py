"""The label join: which click belongs to which impression, and when an impression's label is known."""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from stream.dead_letters import LostClickReason
from stream.events import Click, ClickKind, Impression, LabeledImpression
from stream.join.closed_windows import ClosedWindows
from stream.settings import JoinSettings

MAX_CLICKS_PER_IMPRESSION = 100
"""Further clicks are lost as excess, whether the impression is there or still awaited.

A bot's ten thousand clicks on one impression must not outgrow a record.
"""

_MAX_POLL_GAP_MS = 5_000
"""A longer gap between two looks at the end of the log means that the broker was away: silence starts anew.

So it does when the clock was set back, or the windows would wait until it is where it was.
"""

_STRENGTH: dict[ClickKind, int] = {"click": 0, "cart": 1, "purchase": 2}


@dataclass(frozen=True, slots=True)
class Label:
    """A label to write. `offsets` are the records it settles: the impression and its clicks; none while it is open."""

    labeled: LabeledImpression
    offsets: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ClosedWindow:
    """An impression's window closed after its labels left. `offsets` are its record and that of its first click."""

    offsets: tuple[int, ...]
    window_cut: bool


@dataclass(frozen=True, slots=True)
class LostClick:
    """A click that no label takes.

    Attributes:
        click: The click.
        offset: Its record.
        reason: late_click: its impression's window was closed. orphaned_click: no impression came.
            unmatched_click: none came since a restart, before which one may have been labeled.
            excess_click: its impression has too many. further_click: its impression's early positive is out.
    """

    click: Click
    offset: int
    reason: LostClickReason


@dataclass(frozen=True, slots=True)
class Repeat:
    """A second copy of an event whose first copy is accounted for."""

    event: Impression | Click
    offset: int


Ending = Label | ClosedWindow | LostClick | Repeat


class _HeldClick:
    """A click on a pending impression, or one that came before its impression."""

    __slots__ = ("click", "matched", "offset", "time_ms")

    def __init__(self, click: Click, offset: int, time_ms: int) -> None:
        self.click = click
        self.offset = offset
        self.time_ms = time_ms
        self.matched = False


class _Pending:
    """An impression whose window is open."""

    __slots__ = ("clicks", "due_ms", "impression", "label_due_ms", "offset")

    def __init__(self, impression: Impression, offset: int, due_ms: int, label_due_ms: int) -> None:
        self.impression = impression
        self.offset = offset
        self.due_ms = due_ms
        self.label_due_ms = label_due_ms
        self.clicks: dict[str, _HeldClick] = {}


class LabelJoin:
    """Joins the clicks of one partition to its impressions; pure, time is what the events and `tick` say.

    An impression's window is open for `window_seconds` of event time. When the watermark (the newest event time, no
    later than its record's) has passed its end by `lateness_seconds`, the label leaves: 1 if a click inside the
    window came, else 0. Labels leave in offset order, so a re-read is recognised downstream by offset. Where records
    are out of order by at most `lateness_seconds`, the label depends on the event times alone, not on the order of
    arrival, and is the same after any crash and re-read.

    With `early_negative` an impression leaves at once as a negative (revision 0), and again as a positive (revision 1)
    when the first click inside its window is read; further clicks are lost as such. The close of the window only
    settles records: until then a re-read begins no later than the impression and its first click, so it makes the same
    labels again. (Afterwards one may begin between a click that came early and its impression: that copy of the
    positive names another click. Downstream the first copy holds.) Each label bears the offset of the record that made
    it leave, so these rise in either mode.

    Args:
        settings: Window and waits.
        partition: Partition number, written into every label.
        from_start: False when reading starts after records that were settled by an earlier run.
    """

    def __init__(self, settings: JoinSettings, partition: int, *, from_start: bool = True) -> None:
        self._partition = partition
        self._window_ms = int(settings.window_seconds * 1000)
        self._lateness_ms = int(settings.lateness_seconds * 1000)
        self._orphan_wait_ms = int(settings.orphan_wait_seconds * 1000)
        self._quiet_ms = int(settings.quiet_seconds * 1000)
        self._max_waiting = settings.max_pending
        self._early_negative = settings.early_negative
        self._from_start = from_start
        self._first_ms: int | None = None
        self._watermark_ms = 0
        self._pending: deque[_Pending] = deque()
        self._pending_by_id: dict[str, _Pending] = {}
        self._waiting: deque[_HeldClick] = deque()
        self._waiting_by_id: dict[str, dict[str, _HeldClick]] = {}
        self._num_waiting = 0
        self._closed = ClosedWindows(int(settings.late_memory_seconds * 1000))
        self._silent_since_ms: int | None = None
        self._last_tick_ms = 0

    @property
    def num_pending(self) -> int:
        """Impressions whose window is open."""
        return len(self._pending)

    @property
    def num_waiting(self) -> int:
        """Clicks that wait for an impression."""
        return self._num_waiting

    @property
    def watermark_ms(self) -> int:
        """Newest event time seen; 0 before the first event."""
        return self._watermark_ms

    @property
    def oldest_due_ms(self) -> int | None:
        """End of the oldest open window."""
        return self._pending[0].due_ms if self._pending else None

    def add(self, event: Impression | Click, offset: int, record_time_ms: int) -> list[Ending]:
        """Take the next record of the partition, and return what it settles, in order.

        Args:
            event: What the record holds.
            offset: Where it stands; offsets rise.
            record_time_ms: CreateTime of the record: an event time ahead of it cannot hold a window open.
        """
        time_ms = min(event.event_time_ms, record_time_ms)
        self._silent_since_ms = None
        if self._first_ms is None:
            self._first_ms = time_ms
        # The event comes before the watermark it moves: a click at the very end of a window is inside it.
        if isinstance(event, Impression):
            endings = self._add_impression(event, offset, time_ms, record_time_ms)
        else:
            endings = self._add_click(_HeldClick(event, offset, time_ms))
        self._watermark_ms = max(self._watermark_ms, time_ms)
        return endings + self._advance(self._watermark_ms)

    def tick(self, now_ms: int, *, at_end: bool) -> list[Ending]:
        """Let wall time close windows of a partition that has fallen silent, and return what that settles.

        Args:
            now_ms: When the broker last said where the log ends, in wall-clock time.
            at_end: Whether everything up to there has been added.
        """
        gap_ms = now_ms - self._last_tick_ms
        self._last_tick_ms = now_ms
        if not at_end or self._first_ms is None:
            self._silent_since_ms = None
            return []
        if self._silent_since_ms is None or not 0 <= gap_ms <= _MAX_POLL_GAP_MS:
            self._silent_since_ms = now_ms
        silence_ms = now_ms - self._silent_since_ms
        # The watermark itself stays: events that come after all are judged by event time alone.
        return self._advance(self._watermark_ms + silence_ms) if silence_ms >= self._quiet_ms else []

    def cut(self, count: int) -> list[Ending]:
        """Close the oldest `count` windows before their time, flagged `window_cut`."""
        return [self._close_oldest(window_cut=True) for _ in range(min(count, len(self._pending)))]

    def flush(self) -> list[Ending]:
        """Close every window and give up every waiting click: a recorded log has ended."""
        endings: list[Ending] = [self._close_oldest() for _ in range(len(self._pending))]
        return endings + self._expire(None)

    def _add_impression(self, impression: Impression, offset: int, time_ms: int, record_time_ms: int) -> list[Ending]:
        impression_id = impression.impression_id
        if impression_id in self._pending_by_id or impression_id in self._closed:
            return [Repeat(impression, offset)]
        pending = _Pending(impression, offset, time_ms + self._window_ms, record_time_ms + self._window_ms)
        self._pending.append(pending)
        self._pending_by_id[impression_id] = pending
        endings: list[Ending] = [self._negative(pending, record_time_ms)] if self._early_negative else []
        for held in self._waiting_by_id.pop(impression_id, {}).values():
            held.matched = True
            self._num_waiting -= 1
            endings += self._attach(pending, held, offset)
        return endings

    def _add_click(self, held: _HeldClick) -> list[Ending]:
        impression_id = held.click.impression_id
        if pending := self._pending_by_id.get(impression_id):
            return self._attach(pending, held, held.offset)
        if impression_id in self._closed:
            repeats = self._closed.repeats(held.click)
            return [Repeat(held.click, held.offset) if repeats else LostClick(held.click, held.offset, "late_click")]
        waiting = self._waiting_by_id.setdefault(impression_id, {})
        if held.click.click_id in waiting:
            return [Repeat(held.click, held.offset)]
        if len(waiting) >= MAX_CLICKS_PER_IMPRESSION:
            return [LostClick(held.click, held.offset, "excess_click")]
        waiting[held.click.click_id] = held
        self._waiting.append(held)
        self._num_waiting += 1
        return self._expire(None, keep=self._max_waiting)

    def _attach(self, pending: _Pending, held: _HeldClick, offset: int) -> list[Ending]:
        """Give a click to its impression; `offset` is the later of their two records."""
        if held.click.click_id in pending.clicks:
            return [Repeat(held.click, held.offset)]
        if held.time_ms > pending.due_ms:
            return [LostClick(held.click, held.offset, "late_click")]
        if len(pending.clicks) >= MAX_CLICKS_PER_IMPRESSION:
            return [LostClick(held.click, held.offset, "excess_click")]
        pending.clicks[held.click.click_id] = held
        if not self._early_negative:
            return []
        if len(pending.clicks) > 1:
            return [LostClick(held.click, held.offset, "further_click")]
        return [self._positive(pending, held, offset)]

    def _negative(self, pending: _Pending, record_time_ms: int) -> Label:
        labeled = LabeledImpression(
            impression=pending.impression,
            label=0,
            label_due_ms=record_time_ms,
            source_partition=self._partition,
            source_offset=pending.offset,
        )
        return Label(labeled, ())

    def _positive(self, pending: _Pending, held: _HeldClick, offset: int) -> Label:
        labeled = LabeledImpression(
            impression=pending.impression,
            label=1,
            kind=held.click.kind,
            click_ids=(held.click.click_id,),
            # Event time, unlike record time, is the same in a producer's second copy: downstream tells copies by it.
            label_due_ms=max(held.time_ms, pending.due_ms - self._window_ms),
            revision=1,
            source_partition=self._partition,
            source_offset=offset,
        )
        return Label(labeled, ())

    def _advance(self, watermark_ms: int) -> list[Ending]:
        endings: list[Ending] = []
        while self._pending and self._pending[0].due_ms + self._lateness_ms < watermark_ms:
            endings.append(self._close_oldest())
        endings += self._expire(watermark_ms)
        self._closed.forget(watermark_ms)
        return endings

    def _close_oldest(self, *, window_cut: bool = False) -> Label | ClosedWindow:
        pending = self._pending.popleft()
        impression_id = pending.impression.impression_id
        del self._pending_by_id[impression_id]
        self._closed.add(impression_id, pending.due_ms, pending.clicks)
        if self._early_negative:
            first_click = [held.offset for held in pending.clicks.values()][:1]
            return ClosedWindow((pending.offset, *first_click), window_cut)
        clicks = sorted(pending.clicks.values(), key=lambda held: (held.time_ms, held.click.click_id))
        strongest = max(clicks, key=lambda held: _STRENGTH[held.click.kind], default=None)
        labeled = LabeledImpression(
            impression=pending.impression,
            label=1 if clicks else 0,
            kind=strongest.click.kind if strongest else None,
            click_ids=tuple(held.click.click_id for held in clicks),
            label_due_ms=pending.label_due_ms,
            window_cut=window_cut,
            source_partition=self._partition,
            source_offset=pending.offset,
        )
        return Label(labeled, (pending.offset, *(held.offset for held in clicks)))

    def _expire(self, watermark_ms: int | None, *, keep: int = 0) -> list[Ending]:
        """Give up the clicks that have waited long enough; without a watermark all but the `keep` newest."""
        endings: list[Ending] = []
        while self._waiting:
            held = self._waiting[0]
            if not held.matched:
                waited = watermark_ms is None or held.time_ms + self._orphan_wait_ms < watermark_ms
                if self._num_waiting <= keep or not waited:
                    break
                waiting = self._waiting_by_id[held.click.impression_id]
                del waiting[held.click.click_id]
                self._num_waiting -= 1
                if not waiting:
                    del self._waiting_by_id[held.click.impression_id]
                endings.append(LostClick(held.click, held.offset, self._reason_of_unmatched(held.time_ms)))
            self._waiting.popleft()
        return endings

    def _reason_of_unmatched(self, click_time_ms: int) -> LostClickReason:
        if self._from_start or self._first_ms is None:
            return "orphaned_click"
        window_read = click_time_ms - self._window_ms - self._lateness_ms > self._first_ms
        return "orphaned_click" if window_read else "unmatched_click"


def join_log(events: Iterable[Impression | Click], settings: JoinSettings) -> Iterator[LabeledImpression]:
    """Return the labels of a recorded log, in the order in which they leave; every window closes at its end.

    Args:
        events: Impressions and clicks in event-time order, out of it by at most `lateness_seconds`.
        settings: Window and waits.
    """
    join = LabelJoin(settings, partition=0)
    for offset, event in enumerate(events):
        yield from _labels(join.add(event, offset, event.event_time_ms))
    yield from _labels(join.flush())


def _labels(endings: Iterable[Ending]) -> Iterator[LabeledImpression]:
    return (ending.labeled for ending in endings if isinstance(ending, Label))
