import subprocess
import sys

from stream.process.vital_thread import vital_thread


def test_work_that_ends_is_no_error():
    done = []
    thread = vital_thread(lambda: done.append(1), "work")
    thread.start()
    thread.join()
    assert (done, thread.daemon, thread.name) == ([1], True, "work")


def test_an_error_that_leaves_the_work_ends_the_process_with_one_line_and_its_traceback():
    script = (
        "import time; from stream.process.logs import configure_logging; from stream.process.vital_thread import *; "
        "configure_logging('test'); vital_thread(lambda: {}['missing'], 'work').start(); time.sleep(60)"
    )
    ended = subprocess.run([sys.executable, "-c", script], timeout=50, check=False, capture_output=True, text=True)
    assert ended.returncode == 1
    [line] = ended.stderr.splitlines()
    for part in ('"event": "thread_died"', '"thread": "work"', "KeyError: 'missing'", "Traceback", '"remedy"'):
        assert part in line
