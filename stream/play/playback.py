"""Plays records at their time: keeps what is due later, holds the rate, stops when told to."""

import heapq
import itertools
import threading
import time
from collections.abc import Callable
from typing import Protocol

from stream.play.producer import EventRecord

DRAIN_SECONDS = 10.0
"""How long a playback that was told to stop goes on sending what is due, so that open windows see their clicks."""

_LONGEST_WAIT_SECONDS = 0.1
"""Confirmations are taken, and a stop is noticed, at least this often."""


class Sink(Protocol):
    """Where due records go."""

    def send(self, record: EventRecord) -> None:
        """Send one record now."""

    def settle(self, now_ms: int) -> None:
        """Take the confirmations that have come; all records due by now have been sent."""


class Playback:
    """Plays moments one after the other on the wall clock and sends everything when it is due.

    A moment is asked for with `begin`, which waits and then returns the event time to stamp it with: the wall clock as
    it is, not as it should be, so that event time, CreateTime and delays stay on one clock when playing falls behind.

    Args:
        sink: Where records go.
        rate: Most rows per second; None for no cap.
        seconds: When to stop by itself; None for never.
        stop: Set from outside to stop.
        clock: Epoch seconds.
        wait: Waits for at most some seconds.
    """

    def __init__(
        self,
        sink: Sink,
        *,
        rate: float | None,
        seconds: float | None,
        stop: threading.Event,
        clock: Callable[[], float] = time.time,
        wait: Callable[[float], object] = time.sleep,
    ) -> None:
        self._sink = sink
        self._rate = rate
        self._stop = stop
        self._clock = clock
        self._wait = wait
        self._due: list[tuple[int, int, EventRecord]] = []
        self._order = itertools.count()
        self._started = clock()
        self._ends = float("inf") if seconds is None else self._started + seconds
        self._free = self._started

    @property
    def elapsed_seconds(self) -> float:
        """Wall time since the start."""
        return self._clock() - self._started

    def begin(self, at_seconds: float, rows: int) -> int | None:
        """Wait for a moment and return its event time in epoch milliseconds, or None when the playback is over.

        Args:
            at_seconds: When it is due, counted from the start.
            rows: Impressions it holds, for the rate cap.
        """
        due = max(self._started + at_seconds, self._free)
        while True:
            self._send_due()
            now = self._clock()
            if self._stop.is_set() or now >= self._ends:
                return None
            if now >= due:
                break
            self._wait(min(self._until_next(due - now), self._ends - now))
        if self._rate is not None:
            self._free = max(self._free, now - 1.0) + rows / self._rate
        return round(now * 1000)

    def schedule(self, record: EventRecord, due_ms: int) -> None:
        """Send a record when it is due; records due at the same time go in the order they came."""
        heapq.heappush(self._due, (due_ms, next(self._order), record))

    def finish(self) -> int:
        """Send what is still due, each record at its time, and return how many were left unsent.

        None is left unsent, except by a playback that was told to stop and would need longer than `DRAIN_SECONDS`.
        """
        stopped_at: float | None = None
        while self._due:
            self._send_due()
            now = self._clock()
            if self._stop.is_set() and stopped_at is None:
                stopped_at = now
            if stopped_at is not None and now - stopped_at >= DRAIN_SECONDS:
                break
            if self._due:
                self._wait(self._until_next(_LONGEST_WAIT_SECONDS))
        return len(self._due)

    def _send_due(self) -> None:
        now_ms = round(self._clock() * 1000)
        while self._due and self._due[0][0] <= now_ms:
            self._sink.send(heapq.heappop(self._due)[2])
        self._sink.settle(now_ms)

    def _until_next(self, seconds: float) -> float:
        """Return how long to wait: until the next record is due, and never longer than a stop may go unnoticed."""
        if self._due:
            seconds = min(seconds, self._due[0][0] / 1000 - self._clock())
        return min(max(seconds, 0.001), _LONGEST_WAIT_SECONDS)
