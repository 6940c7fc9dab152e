"""Holds SIGINT and SIGTERM for a moment that must not be torn, such as the start of a child process."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_HELD = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def held_signals() -> Iterator[None]:
    """Let no signal interrupt the block; what came meanwhile is delivered at its end, to the handler of before.

    Between the birth of a child and the moment its parent knows of it, an exception would leave a process that nobody
    stops, and an ignored signal would be lost. Blocking them would not do: another thread may take a signal, the main
    one runs its handler all the same, and a child inherits what is blocked. In a thread other than the main one, where
    no handler ever runs, this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: set[signal.Signals] = set()
    before = {each: signal.signal(each, lambda number, _: came.add(signal.Signals(number))) for each in _HELD}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        # Once each, as the kernel would hold them.
        for number in sorted(came):
            signal.raise_signal(number)
