"""The moment at which an impression is shown: an attribution window before its label, and scored by who serves then."""

import math
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from scorer.engine.engine import Engine
from trainer.backtest.runs.streams import StreamRow


class ShownRow(NamedTuple):
    """A row of the stream when its label is due.

    Attributes:
        row: The row.
        z: Logit that it was shown with; NaN when no version was decided on since, so that the one that serves now is
            the one that showed it, and for a click that comes as a second row.
    """

    row: StreamRow
    z: float


class Showing:
    """Gives the rows of a stream in the order of their labels, and knows what each was shown with.

    Args:
        rows: The stream, in the order of its labels; impressions come in about the order in which they are shown.
        batch_rows: Rows of one micro-batch.
    """

    def __init__(self, rows: Iterator[StreamRow], batch_rows: int) -> None:
        self._rows = rows
        self._batch_rows = batch_rows
        self._shown: deque[ShownRow] = deque()
        self._next = next(rows, None)

    def take(self, count: int) -> list[ShownRow]:
        """Return the next rows whose labels are due; fewer at the end of the stream."""
        taken: list[ShownRow] = []
        while len(taken) < count:
            if self._shown:
                taken.append(self._shown.popleft())
            elif (row := self._read()) is not None:
                taken.append(ShownRow(row, math.nan))
            else:
                break
        return taken

    def show(self, until_ms: int, live: Engine) -> None:
        """Score what was shown until now and is not due yet, by the version that served until now.

        Args:
            until_ms: Event time at which another version may begin to serve, epoch milliseconds.
            live: The version that serves.
        """
        rows = []
        while self._next is not None and _shown_ms(self._next) <= until_ms:
            rows.append(self._next)
            self._read()
        for start in range(0, len(rows), self._batch_rows):
            batch = rows[start : start + self._batch_rows]
            impressions = [row.labeled.impression for row in batch if row.labeled.revision == 0]
            scores = iter(live.score(impressions).z.tolist() if impressions else ())
            self._shown += [ShownRow(row, next(scores) if row.labeled.revision == 0 else math.nan) for row in batch]

    def _read(self) -> StreamRow | None:
        row, self._next = self._next, next(self._rows, None)
        return row


def _shown_ms(row: StreamRow) -> int:
    return row.labeled.label_due_ms if row.labeled.revision else row.labeled.impression.event_time_ms
