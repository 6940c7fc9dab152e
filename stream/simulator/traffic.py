"""Puts the shop's pages, and the junk beside them, into the schedule of a playback."""

import dataclasses

import msgspec

from stream.events import Click, Impression
from stream.play.ledger import RecordKind
from stream.play.playback import Playback
from stream.play.producer import EventRecord, record_of
from stream.simulator.junk import REPEAT_SECONDS, Junk
from stream.simulator.settings import ShopSettings
from stream.simulator.shop import Page, Showing


class Traffic:
    """Turns pages into scheduled records.

    Args:
        settings: The shop.
        window_seconds: The attribution window.
        playback: Where records are scheduled.
        run: Put before every made-up id.

    Raises:
        ValueError: the window does not tell the shop's prompt clicks from its late ones.
    """

    def __init__(self, settings: ShopSettings, window_seconds: float, playback: Playback, run: str) -> None:
        if not settings.click_seconds <= window_seconds < settings.late_click_seconds:
            message = (
                f"the attribution window of {window_seconds} s is not between click_seconds={settings.click_seconds} "
                f"and late_click_seconds={settings.late_click_seconds}, so the shop's prompt and late clicks would be "
                "mixed up; set MILLSTREAM_JOIN_WINDOW_SECONDS, or the shop's two settings"
            )
            raise ValueError(message)
        self._window_ms = round(window_seconds * 1000)
        self._playback = playback
        self._junk = Junk(settings, run)
        self.turn_ms: int | None = None

    def play(self, page: Page) -> bool:
        """Wait for a page's time and schedule its records; return False when the playback is over."""
        stamp = self._playback.begin(page.elapsed_seconds, len(page.showings))
        if stamp is None:
            return False
        if page.turned and self.turn_ms is None:
            self.turn_ms = stamp
        for showing in page.showings:
            self._schedule(showing, stamp)
        return True

    def _schedule(self, showing: Showing, stamp: int) -> None:
        shift = stamp - showing.impression.event_time_ms
        impression: Impression = msgspec.structs.replace(showing.impression, event_time_ms=stamp)
        clicks: list[Click] = [
            msgspec.structs.replace(click, event_time_ms=click.event_time_ms + shift) for click in showing.clicks
        ]
        sent_ms = stamp
        if clicks and clicks[0].event_time_ms <= stamp + self._window_ms // 2 and self._junk.overtakes():
            # The impression was held up on its way: event times say what happened, the order of arrival does not.
            sent_ms = clicks[0].event_time_ms + self._window_ms // 10
        self._send(record_of(impression, "impression", showing.click_probability), sent_ms)
        for click in clicks:
            kind: RecordKind = "click" if click.event_time_ms <= stamp + self._window_ms else "late_click"
            self._send(record_of(click, kind), click.event_time_ms)
        for record in self._junk.beside(impression):
            self._playback.schedule(record, stamp)

    def _send(self, record: EventRecord, due_ms: int) -> None:
        self._playback.schedule(record, due_ms)
        if self._junk.repeats():
            kind: RecordKind = "repeated_impression" if record.kind == "impression" else "repeated_click"
            again = dataclasses.replace(record, kind=kind, click_probability=None)
            self._playback.schedule(again, due_ms + round(REPEAT_SECONDS * 1000))
