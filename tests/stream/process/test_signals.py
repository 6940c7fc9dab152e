import os
import signal
import threading
from collections.abc import Iterator

import pytest

from stream.process.signals import held_signals, stop_on_signals


@pytest.fixture(autouse=True)
def _same_signals() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_inside_the_block_is_delivered_at_its_end(number: signal.Signals):
    signal.signal(number, signal.default_int_handler)
    passed = []
    with pytest.raises(KeyboardInterrupt):  # noqa: PT012, SIM117 (the block must be seen to be whole)
        with held_signals():
            os.kill(os.getpid(), number)
            passed.append("the whole block")
    assert passed == ["the whole block"]
    assert signal.getsignal(number) is signal.default_int_handler


def test_a_signal_that_another_thread_takes_is_held_too():
    with pytest.raises(KeyboardInterrupt), held_signals():  # noqa: PT012
        thread = threading.Thread(target=signal.raise_signal, args=(signal.SIGINT,))
        thread.start()
        thread.join()


def test_each_signal_is_delivered_once():
    came = []
    signal.signal(signal.SIGTERM, lambda number, _: came.append(number))
    with held_signals():
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGTERM)
    assert came == [signal.SIGTERM]


def test_a_signal_that_was_ignored_before_stays_ignored():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with held_signals():
        os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_in_another_thread_it_does_nothing():
    before = signal.getsignal(signal.SIGINT)
    seen = []

    def look() -> None:
        with held_signals():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert seen == [before]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_asks_for_a_stop(number: signal.Signals):
    before = signal.getsignal(number)
    with stop_on_signals(threading.Event()) as stop:
        os.kill(os.getpid(), number)
        assert stop.wait(5)
    assert signal.getsignal(number) is before
