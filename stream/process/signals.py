"""SIGINT and SIGTERM: taken as a request to stop, or held for a moment that must not be torn."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

Stop = TypeVar("Stop", bound=threading.Event)

STOPPING = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def stop_on_signals(stop: Stop) -> Iterator[Stop]:
    """Have an event set by SIGINT and SIGTERM, instead of ending the process, for as long as the block runs."""
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in STOPPING}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


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
    before = {each: signal.signal(each, lambda number, _: came.add(signal.Signals(number))) for each in STOPPING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        # Once each, as the kernel would hold them.
        for number in sorted(came):
            signal.raise_signal(number)
