"""`millstream replay`: plays a recorded log through Kafka as if it happened now."""

import itertools
import time
from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from stream.events import Click, Impression
from stream.play.ledger import RecordKind
from stream.play.playback import Playback
from stream.play.player import Player, PlayerOptions
from stream.play.producer import ProducerCounts, record_of
from stream.play.recorded_log import BadLines, read_log
from stream.settings import KafkaSettings, MetricsSettings

REMEMBERED_IMPRESSIONS = 1_000_000
"""Played impressions whose later clicks and repeats are still recognised."""


class ReplayCounts(ProducerCounts, kw_only=True):
    """What a replay sent.

    Attributes:
        bad_lines: Lines of the log that could not be used and were left out.
    """

    bad_lines: int = 0


@dataclass
class Shown:
    """An impression of a log with the clicks that follow it in the log; or clicks alone, when it is unknown.

    Attributes:
        time_ms: Event time in the log.
        impression: What was shown; None for a click that found no impression.
        clicks: Its clicks, in the order of the log.
    """

    time_ms: int
    impression: Impression | None
    clicks: list[Click] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class ReplayOptions:
    """What is played of a log, and how its time is changed.

    Attributes:
        click_delay_seconds: When a positive row of the plain format is clicked.
        speed: How many seconds of the log pass in one second. Gaps between impressions shrink; the delay of a click
            does not, since the attribution window does not either.
        skip: Impressions left out at the start.
        skip_bad_lines: Leave out and count lines that cannot be used, instead of refusing the log.
    """

    click_delay_seconds: float = 1.0
    speed: float = 1.0
    skip: int = 0
    skip_bad_lines: bool = False


def replay(
    path: Path, kafka: KafkaSettings, metrics: MetricsSettings, options: PlayerOptions, log: ReplayOptions
) -> ReplayCounts:
    """Play a log until its end, its limit (`options.total` impressions) or a signal.

    Args:
        path: The log; formats in stream/play/recorded_log.py.
        kafka: The cluster; its topics must exist.
        metrics: Where metrics are shown.
        options: How to play.
        log: What to play of the log.

    Returns:
        The counts, exact.

    Raises:
        LogError: the log cannot be read, or has an unusable line and `log.skip_bad_lines` is not set.
        ClusterError: no Kafka or no topic.
        ValueError: no free metrics port, or options out of range.
    """
    _check(options, log)
    bad_lines = BadLines()
    events = read_log(
        path,
        click_delay_seconds=log.click_delay_seconds,
        skip=log.skip,
        limit=options.total,
        id_prefix=f"{round(time.time() * 1000):x}",
        bad_lines=bad_lines if log.skip_bad_lines else None,
    )
    # The first event is read before anything is connected: a wrong path or format must not cost a start.
    first = next(events, None)
    with Player(f"replay of {path.name}", kafka, metrics, options) as player:
        if first is not None:
            replayer = Replayer(player.playback, options.window_seconds, log.speed)
            horizon = max(2 * options.window_seconds, log.click_delay_seconds)
            for shown in with_clicks(itertools.chain([first], events), horizon):
                if not replayer.play(shown):
                    break
                player.progress.advance(1 if shown.impression else 0)
    return ReplayCounts(**msgspec.structs.asdict(player.counts()), bad_lines=bad_lines.count)


class Replayer:
    """Schedules the impressions of a log and their clicks, re-stamped to the wall clock.

    Args:
        playback: Where records are scheduled.
        window_seconds: The attribution window.
        speed: Seconds of the log per second.
    """

    def __init__(self, playback: Playback, window_seconds: float, speed: float) -> None:
        self._playback = playback
        self._window_ms = round(window_seconds * 1000)
        self._speed = speed
        self._begins_ms: int | None = None
        # Impression id -> (event time in the log, event time it was played with).
        self._played: OrderedDict[str, tuple[int, int]] = OrderedDict()

    def play(self, shown: Shown) -> bool:
        """Wait for the moment and schedule its records; return False when the playback is over."""
        if self._begins_ms is None:
            self._begins_ms = shown.time_ms
        at_seconds = (shown.time_ms - self._begins_ms) / 1000 / self._speed
        stamp = self._playback.begin(at_seconds, 1 if shown.impression else 0)
        if stamp is None:
            return False
        if shown.impression is not None:
            self._show(shown.impression, stamp)
        for click in shown.clicks:
            self._click(click, stamp)
        return True

    def _show(self, impression: Impression, stamp: int) -> None:
        again = impression.impression_id in self._played
        if again:
            stamp = self._played[impression.impression_id][1]
        else:
            self._played[impression.impression_id] = (impression.event_time_ms, stamp)
            if len(self._played) > REMEMBERED_IMPRESSIONS:
                self._played.popitem(last=False)
        event = msgspec.structs.replace(impression, event_time_ms=stamp)
        self._playback.schedule(record_of(event, "repeated_impression" if again else "impression"), stamp)

    def _click(self, click: Click, now_ms: int) -> None:
        kind: RecordKind = "orphaned_click"
        stamp = now_ms
        if played := self._played.get(click.impression_id):
            logged_ms, played_ms = played
            stamp = played_ms + max(0, click.event_time_ms - logged_ms)
            kind = "click" if stamp <= played_ms + self._window_ms else "late_click"
        self._playback.schedule(record_of(msgspec.structs.replace(click, event_time_ms=stamp), kind), stamp)


def with_clicks(events: Iterable[Impression | Click], horizon_seconds: float) -> Iterator[Shown]:
    """Yield the impressions of a log in its order, each with its clicks.

    A log may hold many impressions of one second before their first click, and the rate cap may stretch that second
    over minutes; clicks must follow their own impression, so they are brought together before anything is played.

    Args:
        events: Impressions and clicks in the order of the log.
        horizon_seconds: How much log time is read ahead for clicks; a click further away comes alone.
    """
    horizon_ms = round(horizon_seconds * 1000)
    waiting: deque[Shown] = deque()
    by_id: dict[str, Shown] = {}
    now_ms = 0
    for event in events:
        now_ms = max(now_ms, event.event_time_ms)
        while waiting and waiting[0].time_ms + horizon_ms < now_ms:
            yield _release(waiting, by_id)
        shown = by_id.get(event.impression_id)
        if isinstance(event, Click):
            if shown is None:
                shown = by_id[event.impression_id] = Shown(event.event_time_ms, None)
                waiting.append(shown)
            shown.clicks.append(event)
        elif shown is not None and shown.impression is None:
            shown.impression = event  # its click was logged before it
        else:
            waiting.append(Shown(event.event_time_ms, event))
            by_id.setdefault(event.impression_id, waiting[-1])
    while waiting:
        yield _release(waiting, by_id)


def _release(waiting: deque[Shown], by_id: dict[str, Shown]) -> Shown:
    shown = waiting.popleft()
    for event in (shown.impression, *shown.clicks[:1]):
        if event is not None and by_id.get(event.impression_id) is shown:
            del by_id[event.impression_id]
    return shown


def _check(options: PlayerOptions, log: ReplayOptions) -> None:
    if log.speed < 1:
        message = f"speed={log.speed} would stretch the log; use 1 or more (--rate slows a replay down)"
        raise ValueError(message)
    if not 0 < log.click_delay_seconds <= options.window_seconds:
        message = (
            f"click_delay_seconds={log.click_delay_seconds} is not inside the attribution window of "
            f"{options.window_seconds} s; every positive row would become a late click"
        )
        raise ValueError(message)
