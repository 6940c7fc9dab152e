import subprocess
import sys

from stream.watchdog import Progress, Watchdog


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
        "import time; from stream.watchdog import *; "
        "start_watchdog(lambda: Progress(waiting=True, moved=0), 0.1); time.sleep(60)"
    )
    assert subprocess.run([sys.executable, "-c", script], timeout=50, check=False).returncode == 1
