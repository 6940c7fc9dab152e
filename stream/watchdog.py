"""Ends a process whose records wait while nothing moves: Kafka clients can hang for ever, and a restart cures it."""

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

import structlog

_LOOK_EVERY_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Progress:
    """One look at a process.

    Attributes:
        waiting: Whether there is work: unread records, unsent ones, or a rebalance under way.
        moved: A number that changes whenever anything moves.
    """

    waiting: bool
    moved: int


class Watchdog:
    """Judges looks at a process: stalled is `waiting` for `stall_seconds` with `moved` unchanged."""

    def __init__(self, stall_seconds: float) -> None:
        self._stall_seconds = stall_seconds
        self._moved: int | None = None
        self._since_seconds = 0.0

    def is_stalled(self, progress: Progress, now_seconds: float) -> bool:
        """Return whether the process must end.

        Args:
            progress: The look.
            now_seconds: When, on a monotonic clock.
        """
        if not progress.waiting or progress.moved != self._moved:
            self._moved = progress.moved
            self._since_seconds = now_seconds
        return now_seconds - self._since_seconds >= self._stall_seconds


def start_watchdog(look: Callable[[], Progress], stall_seconds: float) -> None:
    """Look at the process once a second from a thread of its own, for a blocked event loop stalls too.

    A stalled process exits at once with status 1. Nothing is lost: what was not acknowledged is read again.
    """
    watchdog = Watchdog(stall_seconds)

    def watch() -> NoReturn:
        while True:
            time.sleep(_LOOK_EVERY_SECONDS)
            if watchdog.is_stalled(look(), time.monotonic()):
                structlog.get_logger(__name__).critical("stalled", stall_seconds=stall_seconds)
                os._exit(1)

    threading.Thread(target=watch, name="watchdog", daemon=True).start()
