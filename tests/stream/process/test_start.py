import logging
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from stream.process import start
from stream.process.start import REFUSED, Process, end_with, start_process
from stream.settings import JoinSettings

STOPPING = (signal.SIGTERM, signal.SIGINT)


@pytest.fixture(autouse=True)
def _this_process_stays_as_it_is() -> Iterator[None]:
    before, root = {number: signal.getsignal(number) for number in STOPPING}, logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
    root.handlers[:] = handlers
    root.setLevel(level)


def raise_ours() -> None:
    raise ValueError("the window is odd; make it even")


def raised(run: Callable[[], None]) -> Exception:
    with pytest.raises(Exception) as info:  # noqa: PT011 (each of the errors below)
        run()
    return info.value


def test_a_wrong_setting_is_one_line_whoever_reads_it(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as ended:
        end_with("evaluator", raised(lambda: JoinSettings(window_seconds="x")))

    assert ended.value.code == REFUSED
    assert capsys.readouterr().err.startswith("evaluator: MILLSTREAM_JOIN_WINDOW_SECONDS='x': ")


def test_what_our_code_says_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setattr(start, "_PACKAGES", {__name__.partition(".")[0]})
    with pytest.raises(SystemExit):
        end_with("trainer", raised(raise_ours))

    assert capsys.readouterr().err == "trainer: the window is odd; make it even\n"


@pytest.mark.parametrize("run", [raise_ours, lambda: {}["absent"]])
def test_a_fault_keeps_its_traceback(run: Callable[[], None]):
    error = raised(run)
    with pytest.raises(type(error)):
        end_with("trainer", error)


@pytest.mark.parametrize("name", ["MILLSTREAM_JOIN_WINDOW", "MILLSTREAM_GATE_MIN_CLICKS"])
def test_a_process_does_not_run_with_a_wrong_setting_of_any_group(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv(name, "none")
    ran: list[Process] = []
    with pytest.raises(SystemExit) as ended:
        start_process("stream", ran.append)

    assert (ended.value.code, ran) == (REFUSED, [])
    assert capsys.readouterr().err.startswith(f"stream: {name}")


@pytest.mark.parametrize("number", STOPPING)
def test_a_process_that_is_stopped_while_it_starts_ends_well(number: signal.Signals):
    # In a process of its own: it ends at once, and would take the tests with it.
    program = (
        "import os, sys; from stream.process.start import start_process; "
        f"start_process('scorer', lambda _: os.kill(os.getpid(), {int(number)})); sys.exit(3)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
