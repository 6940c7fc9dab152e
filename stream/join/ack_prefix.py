"""Which prefix of a partition is finished, when records finish in any order."""

from collections import deque


class AckPrefix:
    """Offsets of one partition in reading order; only a finished prefix may be acknowledged.

    Faust commits past an unacknowledged record when acknowledgements come out of order, so none ever do.

    Args:
        start: First offset to be read.
    """

    def __init__(self, start: int) -> None:
        self._open: deque[int] = deque()
        self._finished: set[int] = set()
        self._position = start

    @property
    def position(self) -> int:
        """Offset up to which, exclusive, every record read is finished."""
        return self._position

    def __len__(self) -> int:
        return len(self._open)

    def read(self, offset: int) -> None:
        """Note a record that was read; offsets must rise."""
        if self._open and offset <= self._open[-1]:
            message = f"offset {offset} was read after {self._open[-1]}; offsets of a partition must rise"
            raise ValueError(message)
        self._open.append(offset)

    def finish(self, offset: int) -> None:
        """Note that a record's outcome is written."""
        self._finished.add(offset)
        while self._open and self._open[0] in self._finished:
            first = self._open.popleft()
            self._finished.discard(first)
            self._position = first + 1
