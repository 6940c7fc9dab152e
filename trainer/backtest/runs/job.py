"""A job: one run in a process of its own, from its start to its directory."""

import json
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from multiprocessing.connection import Connection
from pathlib import Path

import torch

from trainer.backtest.runs.arms import Arm
from trainer.backtest.runs.memory import peak_memory_mib
from trainer.backtest.runs.results import Results
from trainer.backtest.runs.rounds import Round
from trainer.backtest.runs.run import run_arm
from trainer.backtest.runs.streams import Stream

Message = tuple[str, int | str]
"""What a job tells: ("rows", rows done so far) or ("failed", what went wrong)."""


@dataclass(frozen=True)
class Job:
    """One run.

    Attributes:
        arm: Its arm.
        stream: Its stream.
        seed: Its seed.
        directory: Of the backtest's results.
        cache: Directory of what it shares with other jobs; None when nobody has its beginning.
    """

    arm: Arm
    stream: Stream
    seed: int
    directory: Path
    cache: Path | None = None

    @property
    def name(self) -> str:
        """Arm and seed, for people."""
        return f"{self.arm.name}, seed {self.seed}"


def jobs_of(stream: Stream, arms: Sequence[Arm], num_seeds: int, results: Results) -> list[Job]:
    """Return the runs that are not complete. Those with one beginning share it, unless there is only one of them.

    All seeds of an arm come first: when the next arm begins, what it can share is there.
    """
    missing = [(arm, seed) for arm in arms for seed in range(num_seeds) if not results.is_complete(arm.name, seed)]
    keys = [_beginning_key(stream, arm, seed) for arm, seed in missing]
    return [
        Job(arm, arm.stream(stream), seed, results.directory, results.cache(key) if keys.count(key) > 1 else None)
        for (arm, seed), key in zip(missing, keys, strict=True)
    ]


def run_job(job: Job, connection: Connection) -> None:
    """Run a job, telling its progress; meant as the target of a process.

    The process ends quietly when it is told to; what it has not finished leaves no trace.
    """
    signal.signal(signal.SIGTERM, _exit_once)
    torch.set_num_threads(1)
    done = 0

    def tell(rows: int) -> None:
        nonlocal done
        done += rows
        connection.send(("rows", done))

    def on_round(one: Round) -> bool:
        tell(one.rows)
        return True

    started = time.perf_counter()
    try:
        result = run_arm(
            job.arm,
            job.stream,
            job.seed,
            cache=job.cache,
            on_warm_start=lambda rows: tell(rows - done),
            on_round=on_round,
        )
        seconds = time.perf_counter() - started
        timing = {
            "seconds": round(seconds, 2),
            "rows_per_second": round(job.stream.num_rows / seconds, 1),
            "peak_memory_mib": round(peak_memory_mib(), 1),
        }
        Results(job.directory).write_run(job.arm.name, job.seed, result, timing)
    except (ValueError, ArithmeticError, OSError, RuntimeError) as error:
        connection.send(("failed", str(error)))
    finally:
        # Nothing is left to stop; an exception in what the interpreter does on exit would print its traceback.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _exit_once(*_: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(1)


def _beginning_key(stream: Stream, arm: Arm, seed: int) -> str:
    """Return a name for everything that version 1 and the frozen version's scores depend on."""
    batches = {name: getattr(arm.scorer, name) for name in ("max_batch_rows", "max_batch_tokens", "frozen_share")}
    facts = arm.facts()
    content = [arm.stream(stream).facts(), seed, facts["model"], facts["trainer"], batches]
    return sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
