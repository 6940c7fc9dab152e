"""Ends a process whose records wait while nothing moves: Kafka clients can hang for ever, and a restart cures it."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from stream.process.vital_thread import end_process, vital_thread

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


class StopRequest(threading.Event):
    """Set by a signal, asked by a loop at every turn: how often it was asked shows that the loop turns."""

    def __init__(self) -> None:
        super().__init__()
        self._num_turns = 0

    def is_set(self) -> bool:
        """Return whether to stop."""
        self._num_turns += 1
        return super().is_set()

    def progress(self) -> Progress:
        """Return a look at the loop; before its first turn the process may wait for Kafka as long as that takes."""
        return Progress(waiting=self._num_turns > 0, moved=self._num_turns)


class Watchdog:
    """Judges looks at a process: stalled is `waiting` for `stall_seconds` with `moved` unchanged."""

    def __init__(self, stall_seconds: float) -> None:
        self._stall_seconds = stall_seconds
        self._moved: int | None = None
        self._since_seconds: float | None = None

    def is_stalled(self, progress: Progress | None, now_seconds: float) -> bool:
        """Return whether the process must end.

        Args:
            progress: The look; None when it failed, which shows nothing that moves.
            now_seconds: When, on a monotonic clock.
        """
        moves = progress is not None and (not progress.waiting or progress.moved != self._moved)
        if moves or self._since_seconds is None:
            self._moved = progress.moved if progress else None
            self._since_seconds = now_seconds
        return now_seconds - self._since_seconds >= self._stall_seconds


def start_watchdog(look: Callable[[], Progress], stall_seconds: float) -> None:
    """Look at the process once a second from a thread of its own, for a blocked event loop stalls too.

    A stalled process exits at once with status 1. Nothing is lost: what was not acknowledged is read again. A look
    that raises is one at which nothing moves.

    Args:
        look: Looks at the process; called in the watchdog's thread, so it must ask no client that lives in another.
        stall_seconds: How long nothing may move.
    """
    watchdog = Watchdog(stall_seconds)

    def watch() -> None:
        failure: Exception | None = None
        while True:
            time.sleep(_LOOK_EVERY_SECONDS)
            try:
                progress, failure = look(), None
            except Exception as error:  # noqa: BLE001 (it may pass; if it does not, it ends the process)
                progress, failure = None, error
            if watchdog.is_stalled(progress, time.monotonic()):
                end_process("stalled", failure, stall_seconds=stall_seconds)

    vital_thread(watch, "watchdog").start()
