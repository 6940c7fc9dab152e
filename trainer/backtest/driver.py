"""The driver: runs all arms and seeds in processes, and writes what they add up to."""

import signal
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import get_context, resource_tracker
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any, Protocol

from stream.process.signals import held_signals
from trainer.backtest.progress import BacktestProgress
from trainer.backtest.report.page import render_report
from trainer.backtest.report.summary import summarise
from trainer.backtest.runs.arms import Arm
from trainer.backtest.runs.job import Job, jobs_of, run_job
from trainer.backtest.runs.results import Results, open_results, write_json
from trainer.backtest.runs.streams import Stream


class RunFailedError(RuntimeError):
    """A run that ended early; the message says which one and why."""


class JobView(Protocol):
    """Who wants to know how far the jobs are."""

    def begin(self, name: str) -> None:
        """A job starts."""

    def advance(self, name: str, rows: int) -> None:
        """A job has done so many rows."""

    def end(self, name: str) -> None:
        """A job is complete."""


def run_backtest(
    stream: Stream, arms: Sequence[Arm], *, num_seeds: int, directory: Path, workers: int
) -> dict[str, Any]:
    """Run every arm with every seed, unless that was done before, and return the summary.

    Each run has a process and, when it is complete, a directory. SIGINT and SIGTERM end the runs that are not; the same
    call goes on from there.

    Args:
        stream: The labeled impressions.
        arms: What is compared.
        num_seeds: Runs of each arm.
        directory: Where everything is written.
        workers: Runs at one time.

    Raises:
        KeyboardInterrupt: a signal came.
        ResultsError: the directory belongs to something else.
        RunFailedError: a run failed; those that are complete stay.
    """
    results = open_results(directory, stream, arms, num_seeds)
    jobs = jobs_of(stream, arms, num_seeds, results)
    num_runs = len(arms) * num_seeds
    with BacktestProgress(num_runs, num_runs - len(jobs), stream.num_rows) as progress:
        run_jobs(jobs, workers, progress)
    results.drop_cache()
    return _write_outputs(results, stream, arms, num_seeds)


def run_jobs(jobs: Sequence[Job], workers: int, view: JobView) -> None:
    """Run the jobs, each in a process, at most so many at one time.

    Raises:
        KeyboardInterrupt: a signal came; no process is left.
        RunFailedError: a job failed; no process is left.
    """
    waiting = deque(jobs)
    active: dict[Any, tuple[SpawnProcess, Job]] = {}
    try:
        with _term_as_interrupt():
            while waiting or active:
                while waiting and len(active) < workers:
                    job = waiting.popleft()
                    with held_signals():
                        connection, process = _start(job)
                        active[connection] = process, job
                    view.begin(job.name)
                for connection in wait(list(active)):
                    if not _hear(connection, *active[connection], view):
                        del active[connection]
    finally:
        for process, _ in active.values():
            process.terminate()
        for process, _ in active.values():
            process.join()


def _start(job: Job) -> tuple[Any, SpawnProcess]:
    context = get_context("spawn")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=run_job, args=(job, there), daemon=True)
    # The first start of a process starts this one too, and unblocks what is blocked below.
    resource_tracker.ensure_running()
    # The interrupt of a terminal goes to all of its processes; a child inherits that it is blocked, since the parent
    # tells it.
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
    # The child's end must be open nowhere else: its death is then the end of the pipe.
    there.close()
    return here, process


def _hear(connection: Any, process: SpawnProcess, job: Job, view: JobView) -> bool:
    """Take one message of a job and return whether more may come."""
    try:
        kind, content = connection.recv()
    except EOFError:
        process.join()
        if process.exitcode != 0:
            message = f"the run of arm {job.name} ended with status {process.exitcode}; what it printed says why"
            raise RunFailedError(message) from None
        view.end(job.name)
        return False
    if kind == "failed":
        message = f"arm {job.name}: {content}"
        raise RunFailedError(message)
    view.advance(job.name, content)
    return True


def _write_outputs(results: Results, stream: Stream, arms: Sequence[Arm], num_seeds: int) -> dict[str, Any]:
    names = [(arm.name, seed) for arm in arms for seed in range(num_seeds)]
    runs = [results.read_run(*name) for name in names]
    summary = summarise(stream, arms, num_seeds, runs)
    results.write_rounds(runs)
    timing = [{"arm": arm, "seed": seed} | results.timing(arm, seed) for arm, seed in names]
    write_json(results.directory / "timing.json", {"runs": timing})
    write_json(results.directory / "summary.json", summary)
    (results.directory / "report.html").write_text(render_report(summary, arms, runs), encoding="utf-8")
    return summary


@contextmanager
def _term_as_interrupt() -> Iterator[None]:
    """Let SIGTERM do what SIGINT does."""
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
