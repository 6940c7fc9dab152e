import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from deploy.demo.supervisor import Child, ProcessFailedError, Supervisor

PATIENCE_SECONDS = 60.0

MODULES = {
    "ends": "",
    "fails": """
        import sys
        for number in range(30):
            print("line", number)
        sys.exit("no model line; run models init")
    """,
    "drains": """
        import signal, sys, time
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        print("ready", flush=True)
        while True:
            time.sleep(0.05)
    """,
    "stubborn": """
        import signal, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        print("ready", flush=True)
        while True:
            time.sleep(0.05)
    """,
    "tells": """
        import os
        print(os.environ["SHARED"], os.environ["OWN"], os.getsid(0) == os.getpid())
    """,
}


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    for name, text in MODULES.items():
        lines = text.strip("\n").splitlines()
        (tmp_path / f"{name}.py").write_text("\n".join(line[8:] for line in lines) + "\n")
    environment = {"PYTHONPATH": str(tmp_path), "SHARED": "shared"}
    with Supervisor(tmp_path / "logs", environment) as found:
        yield found


def wait_until_ready(child: Child) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while "ready" not in child.log_path.read_text():
        assert child.process.poll() is None, child.log_path.read_text()
        assert time.monotonic() < deadline, f"{child.name} did not get ready"
        time.sleep(0.02)


def ready(supervisor: Supervisor, module: str, name: str = "") -> Child:
    child = supervisor.start(name or module, [module])
    wait_until_ready(child)
    return child


def test_a_process_that_fails_is_reported_with_the_tail_of_its_log(supervisor: Supervisor):
    with pytest.raises(ProcessFailedError, match=r"(?s)fails ended with status 1; .*line 29.*no model line") as failure:
        supervisor.run("fails", ["fails"])
    assert "line 3\n" not in str(failure.value)
    assert supervisor.failed == {"fails"}


def test_a_failure_is_raised_once(supervisor: Supervisor):
    with pytest.raises(ProcessFailedError):
        supervisor.run("fails", ["fails"])
    supervisor.check()


def test_a_process_that_ends_well_is_no_failure(supervisor: Supervisor):
    supervisor.run("ends", ["ends"])
    supervisor.stop()
    assert supervisor.failed == set()


def test_exit_status_0_after_sigterm_is_no_failure(supervisor: Supervisor):
    child = ready(supervisor, "drains")
    supervisor.stop()
    assert child.process.returncode == 0
    assert supervisor.failed == set()


def test_a_process_that_ignores_sigterm_is_killed_and_counted_as_failed(tmp_path: Path, supervisor: Supervisor):
    with Supervisor(tmp_path / "logs", {"PYTHONPATH": str(tmp_path)}, stop_seconds=0.2) as impatient:
        child = ready(impatient, "stubborn")
        impatient.stop()
    assert child.process.returncode == -signal.SIGKILL
    assert impatient.failed == {"stubborn"}


def test_a_process_that_somebody_kills_is_a_failure(supervisor: Supervisor):
    child = ready(supervisor, "drains")
    os.kill(child.process.pid, signal.SIGKILL)
    child.process.wait(PATIENCE_SECONDS)
    with pytest.raises(ProcessFailedError, match="drains ended with status -9"):
        supervisor.check()


def test_a_failure_that_nobody_asked_for_is_counted_when_everything_stops(supervisor: Supervisor):
    child = supervisor.start("fails", ["fails"])
    child.process.wait(PATIENCE_SECONDS)
    supervisor.stop()
    assert supervisor.failed == {"fails"}


def test_only_the_named_processes_are_stopped(supervisor: Supervisor):
    first, second = ready(supervisor, "drains", "first"), ready(supervisor, "drains", "second")
    supervisor.stop("second")
    assert (first.process.poll(), second.process.poll()) == (None, 0)


def test_an_interrupt_while_a_process_is_being_started_leaves_none_behind(
    tmp_path: Path, supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch
):
    born = []

    class Interrupted(subprocess.Popen):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            born.append(self.pid)
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(subprocess, "Popen", Interrupted)
    environment = {"PYTHONPATH": str(tmp_path)}
    with pytest.raises(KeyboardInterrupt), Supervisor(tmp_path / "logs", environment, stop_seconds=10) as inner:
        inner.start("drains", ["drains"])
    assert len(born) == 1
    assert not psutil.pid_exists(born[0])


def test_leaving_the_supervisor_stops_what_it_started(tmp_path: Path, supervisor: Supervisor):
    with Supervisor(tmp_path / "logs", {"PYTHONPATH": str(tmp_path)}) as inner:
        child = ready(inner, "drains")
    assert child.process.returncode == 0


def test_a_process_sees_the_shared_environment_and_its_own_in_a_session_of_its_own(supervisor: Supervisor):
    child = supervisor.start("tells", ["tells"], {"OWN": "own"})
    child.process.wait(PATIENCE_SECONDS)
    assert child.log_path.read_text() == "shared own True\n"


def test_the_peak_of_memory_is_the_largest_sum_that_was_seen(supervisor: Supervisor):
    pids = [ready(supervisor, "drains", name).process.pid for name in ("first", "second")]
    supervisor.sample_memory()
    both = supervisor.peak_memory_bytes
    assert both >= 0.9 * sum(psutil.Process(pid).memory_info().rss for pid in pids)
    supervisor.stop("first")
    supervisor.sample_memory()
    assert supervisor.peak_memory_bytes == both
