"""The live view of a demo: one table in a terminal, one plain line every few seconds elsewhere."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.table import Table

from deploy.watch.reading import Reading

PLAIN_SECONDS = 10.0
"""Pause between two lines where there is no terminal."""


@contextmanager
def live_view(console: Console, title: str) -> Iterator[Callable[[Reading], None]]:
    """Give what shows a reading, until the block ends.

    Args:
        console: Where to; decides by itself whether it is a terminal.
        title: Heading of the table.
    """
    if console.is_terminal:
        with Live(console=console, refresh_per_second=2, transient=True) as live:
            yield lambda reading: live.update(_table(title, reading))
        return
    next_line_at = 0.0

    def print_line(reading: Reading) -> None:
        nonlocal next_line_at
        if time.monotonic() >= next_line_at:
            next_line_at = time.monotonic() + PLAIN_SECONDS
            line = "  ".join(f"{name} {value}" for name, value in reading.items())
            console.print(line, soft_wrap=True, highlight=False)

    yield print_line


def _table(title: str, reading: Reading) -> Table:
    table = Table(title=title, caption="Ctrl-C drains and ends", show_header=False)
    table.add_column(style="bold")
    table.add_column(justify="right", min_width=12)
    for name, value in reading.items():
        table.add_row(name, value)
    return table
