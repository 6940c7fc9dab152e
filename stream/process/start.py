"""The start of every process: what keeps it from running is one line on stderr, and everywhere the same exit status."""

import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NoReturn

import structlog
from kafka.errors import KafkaError
from prometheus_client import CollectorRegistry
from pydantic import ValidationError

from stream.configuration.setting_names import check_settings
from stream.process.error_line import error_line
from stream.process.exposition import process_registry, serve_metrics
from stream.process.logs import configure_logging
from stream.process.minute_log import start_minute_log
from stream.process.signals import STOPPING
from stream.settings import MetricsSettings

REFUSED = 2
"""Exit status when a setting, an argument or the surroundings are wrong; a failure nobody foresaw has 1."""

_EXPECTED = (ValueError, RuntimeError, KafkaError, OSError)
_PACKAGES = {"stream", "scorer", "trainer", "deploy"}


@dataclass(frozen=True)
class Process:
    """A process that runs, under the name that its logs, its errors and the table of ports have.

    Attributes:
        name: The name.
        registry: Its metrics.
    """

    name: str
    registry: CollectorRegistry = field(default_factory=process_registry)

    def show_metrics(self) -> None:
        """Serve the metrics from now on, and log once a minute what was counted.

        Raises:
            ValueError: their port cannot be bound.
        """
        serve_metrics(self.name, MetricsSettings(), self.registry)
        start_minute_log(self.registry)


Run = Callable[[Process], None]
"""Runs a process until it is told to stop."""


def start_one_of(package: str, processes: Mapping[str, tuple[str, Run]], arguments: Sequence[str]) -> None:
    """Run the process of a package that the arguments of `python -m` name.

    Args:
        package: Name of the package.
        processes: Name of each process and what runs it, by its argument; the empty one is run without.
        arguments: What stands behind the package's name.

    Raises:
        SystemExit: It is unknown, cannot start or cannot go on; one line on stderr has said why.
    """
    chosen = " ".join(arguments)
    if chosen not in processes:
        known = " or ".join(f"`{argument}`" for argument in processes if argument)
        usage = f"use `python -m {package}`" + (f", alone or with {known}" if known else "")
        sys.stderr.write(f"{package}: unknown process {chosen!r}; {usage}\n")
        sys.exit(REFUSED)
    start_process(*processes[chosen])


def start_process(name: str, run: Run) -> None:
    """Run a process, once its settings are right.

    Raises:
        SystemExit: It cannot start or go on; one line on stderr has said why.
    """
    configure_logging(name)
    # Until a process has handlers of its own there is nothing to drain. An exception instead would be raised wherever
    # the main thread stands: inside a library that starts its event loop it is swallowed, or tears it.
    for number in STOPPING:
        signal.signal(number, lambda *_: os._exit(0))
    try:
        check_settings()
        run(Process(name))
    except _EXPECTED as error:
        end_with(name, error)


def end_with(name: str, error: BaseException) -> NoReturn:
    """End the process: with one line and `REFUSED` for an error that says what to do, else with a traceback.

    Raises:
        SystemExit: For an error that our code raised, or whose message speaks for itself.
    """
    if not isinstance(error, _EXPECTED) or not _speaks_for_itself(error):
        structlog.get_logger(__name__).error("process_failed", exc_info=error)
        raise error
    sys.stderr.write(f"{name}: {error_line(error)}\n")
    sys.exit(REFUSED)


def _speaks_for_itself(error: BaseException) -> bool:
    """Return whether our own code raised the error; one from the depths of a library is a fault, not an answer."""
    if isinstance(error, ValidationError | KafkaError | OSError):
        return True
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    return traceback is None or str(traceback.tb_frame.f_globals.get("__name__")).partition(".")[0] in _PACKAGES
