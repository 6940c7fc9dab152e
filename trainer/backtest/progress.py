"""The view of a backtest that runs: a bar for all of it, and one for each run."""

from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn


class BacktestProgress:
    """Shows how far the runs are, on stderr.

    Args:
        num_runs: Runs there are in all.
        num_complete: How many of them were there before.
        rows: Rows of one run.
    """

    def __init__(self, num_runs: int, num_complete: int, rows: int) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed:,.0f}/{task.total:,.0f} rows"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        self._num_runs = num_runs
        self._num_complete = num_complete
        self._rows = rows
        self._done: dict[str, int] = {}
        self._tasks: dict[str, TaskID] = {}
        self._all = self._progress.add_task(self._title(), total=(num_runs - num_complete) * rows)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def begin(self, name: str) -> None:
        """Show a run that starts."""
        self._tasks[name] = self._progress.add_task(name, total=self._rows)
        self._done[name] = 0

    def advance(self, name: str, rows: int) -> None:
        """Show how many rows a run has done."""
        self._done[name] = rows
        self._progress.update(self._tasks[name], completed=rows)
        self._progress.update(self._all, completed=sum(self._done.values()))

    def end(self, name: str) -> None:
        """Take a complete run from the view."""
        self.advance(name, self._rows)
        self._num_complete += 1
        self._progress.remove_task(self._tasks[name])
        self._progress.update(self._all, description=self._title())

    def _title(self) -> str:
        return f"{self._num_complete} of {self._num_runs} runs"
