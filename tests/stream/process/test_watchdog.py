import subprocess
import sys

import pytest

from stream.process.watchdog import Progress, StopRequest, Watchdog


def test_waiting_without_movement_is_a_stall():
    watchdog = Watchdog(stall_seconds=10)
    assert not watchdog.is_stalled(Progress(waiting=True, moved=1), 100)
    assert not watchdog.is_stalled(Progress(waiting=True, moved=1), 109)
    assert watchdog.is_stalled(Progress(waiting=True, moved=1), 110)


def test_movement_starts_the_patience_anew():
    watchdog = Watchdog(stall_seconds=10)
    watchdog.is_stalled(Progress(waiting=True, moved=1), 100)
    watchdog.is_stalled(Progress(waiting=True, moved=2), 109)
    assert not watchdog.is_stalled(Progress(waiting=True, moved=2), 118)


def test_an_idle_process_is_not_stalled():
    watchdog = Watchdog(stall_seconds=10)
    watchdog.is_stalled(Progress(waiting=False, moved=1), 100)
    assert not watchdog.is_stalled(Progress(waiting=False, moved=1), 200)


def test_a_stalled_process_ends_though_its_main_thread_is_blocked():
    script = (
        "import time; from stream.process.watchdog import *; "
        "start_watchdog(lambda: Progress(waiting=True, moved=0), 0.1); time.sleep(60)"
    )
    assert subprocess.run([sys.executable, "-c", script], timeout=50, check=False).returncode == 1


def test_looks_that_fail_are_a_stall():
    watchdog = Watchdog(stall_seconds=10)
    watchdog.is_stalled(Progress(waiting=False, moved=1), 100)
    assert not watchdog.is_stalled(None, 109)
    assert watchdog.is_stalled(None, 110)


@pytest.mark.parametrize("moved", [0, 1])
def test_a_look_that_fails_once_is_forgotten_when_something_moves(moved: int):
    watchdog = Watchdog(stall_seconds=10)
    watchdog.is_stalled(Progress(waiting=True, moved=0), 100)
    watchdog.is_stalled(None, 105)
    assert watchdog.is_stalled(Progress(waiting=True, moved=moved), 110) == (moved == 0)


def test_a_watchdog_whose_look_raises_ends_the_process_and_logs_the_traceback():
    script = (
        "import time; from stream.process.logs import configure_logging; from stream.process.watchdog import *; "
        "configure_logging('test'); start_watchdog(lambda: 1 / 0, 0.1); time.sleep(60)"
    )
    ended = subprocess.run([sys.executable, "-c", script], timeout=50, check=False, capture_output=True, text=True)
    assert ended.returncode == 1
    [line] = ended.stderr.splitlines()
    assert '"event": "stalled"' in line
    assert "ZeroDivisionError" in line


def test_a_loop_that_asks_whether_to_stop_moves_and_one_that_has_not_begun_does_not_wait():
    stopping = StopRequest()
    assert not stopping.progress().waiting
    stopping.is_set()
    before = stopping.progress()
    stopping.is_set()
    assert before.waiting
    assert stopping.progress().moved != before.moved


def test_a_request_to_stop_is_one():
    stopping = StopRequest()
    assert not stopping.is_set()
    stopping.set()
    assert stopping.is_set()
