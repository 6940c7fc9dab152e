"""Progress of a playback: a bar on a terminal, a plain line now and then elsewhere."""

import sys
import time
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

PLAIN_SECONDS = 10.0
"""Time between plain lines."""


class PlaybackProgress:
    """Shows on stderr how many impressions were played.

    Args:
        title: What is played.
        total: Impressions to play; None when that is not known.
    """

    def __init__(self, title: str, total: int | None) -> None:
        self._title = title
        self._total = total
        self._played = 0
        self._next_line = time.monotonic() + PLAIN_SECONDS
        console = Console(stderr=True)
        self._bar = (
            Progress(TextColumn(title), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=console)
            if console.is_terminal
            else None
        )
        self._task = self._bar.add_task(title, total=total) if self._bar else None

    def __enter__(self) -> Self:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar:
            self._bar.stop()

    def advance(self, impressions: int) -> None:
        """Note that more impressions were played."""
        self._played += impressions
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=self._played)
        elif time.monotonic() >= self._next_line:
            self._next_line = time.monotonic() + PLAIN_SECONDS
            of_total = "" if self._total is None else f" of {self._total:,}"
            sys.stderr.write(f"{self._title}: {self._played:,}{of_total} impressions\n")
            sys.stderr.flush()
