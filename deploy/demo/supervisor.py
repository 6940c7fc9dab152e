"""Starts processes in sessions of their own, watches them, stops exactly those it started."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import psutil

from deploy.safe_path import safe_environment
from stream.process.signals import held_signals

STOP_SECONDS = 20.0

MIB = 1024 * 1024


@dataclass(frozen=True)
class Child:
    """One process that was started."""

    name: str
    process: subprocess.Popen[bytes]
    log_path: Path


class ProcessFailedError(RuntimeError):
    """A process ended by itself with a non-zero exit status."""


class Supervisor:
    """Runs `python -m ...` processes, each with its own log file.

    Args:
        log_directory: Receives `<name>.log` of every process.
        environment: Added to this process's own environment.
        stop_seconds: Time a process has to drain after SIGTERM; one that needs more is killed and counted as failed.
    """

    def __init__(self, log_directory: Path, environment: Mapping[str, str], stop_seconds: float = STOP_SECONDS) -> None:
        self._log_directory = log_directory
        self._environment = {**os.environ, **safe_environment(), **environment}
        self._stop_seconds = stop_seconds
        self._children: list[Child] = []
        self._reported: set[str] = set()
        self.failed: set[str] = set()
        self.peak_memory_bytes = 0
        log_directory.mkdir(parents=True, exist_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self, name: str, arguments: Sequence[str], environment: Mapping[str, str] | None = None) -> Child:
        """Start `python -m <arguments>` in a session of its own, so that a Ctrl-C here does not reach it."""
        log_path = self._log_directory / f"{name}.log"
        with log_path.open("ab") as log, held_signals():
            process = subprocess.Popen(
                [sys.executable, "-m", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**self._environment, **(environment or {})},
                start_new_session=True,
            )
            child = Child(name, process, log_path)
            self._children.append(child)
        return child

    def run(self, name: str, arguments: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        """Start a process and wait for its end.

        Raises:
            ProcessFailedError: if it exits with another status than 0; the message ends with the log's last lines.
        """
        child = self.start(name, arguments, environment)
        while child.process.poll() is None:
            self.sample_memory()
            time.sleep(0.1)
        self.check()

    def check(self) -> None:
        """Raise `ProcessFailedError` once for each process that ended with a non-zero status."""
        for child in self._children:
            status = child.process.poll()
            if status not in {None, 0} and child.name not in self._reported:
                self._reported.add(child.name)
                self.failed.add(child.name)
                message = (
                    f"{child.name} ended with status {status}; its log {child.log_path} ends with:\n{_tail(child)}"
                )
                raise ProcessFailedError(message)

    def sample_memory(self) -> None:
        """Update `peak_memory_bytes`, the largest sum of resident memory of the running processes seen so far."""
        total = 0
        for child in self._children:
            if child.process.poll() is None:
                try:
                    total += psutil.Process(child.process.pid).memory_info().rss
                except psutil.NoSuchProcess:
                    continue
        self.peak_memory_bytes = max(self.peak_memory_bytes, total)

    def stop(self, *names: str) -> None:
        """SIGTERM the named processes (all, when none is named) in order of their start, and wait for their end.

        One that does not exit with 0 in time is recorded in `failed`.
        """
        for child in self._children:
            if names and child.name not in names:
                continue
            if child.process.poll() is None:
                child.process.send_signal(signal.SIGTERM)
                try:
                    child.process.wait(self._stop_seconds)
                except subprocess.TimeoutExpired:
                    os.killpg(child.process.pid, signal.SIGKILL)
                    child.process.wait()
            if child.process.returncode != 0:
                self.failed.add(child.name)


def _tail(child: Child, lines: int = 15) -> str:
    return "\n".join(child.log_path.read_text(errors="replace").splitlines()[-lines:])
