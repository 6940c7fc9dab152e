"""The start of every process: what keeps it from running is one line on stderr, and everywhere the same exit status."""

import signal
import sys
from collections.abc import Callable
from typing import NoReturn

import structlog
from kafka.errors import KafkaError
from pydantic import ValidationError

from stream.cluster.admin import connect_admin
from stream.configuration.setting_names import check_settings
from stream.process.error_line import error_line
from stream.process.logs import configure_logging
from stream.settings import KafkaSettings

REFUSED = 2
"""Exit status when a setting, an argument or the surroundings are wrong; a failure nobody foresaw has 1."""

_EXPECTED = (ValueError, RuntimeError, KafkaError, OSError)
_PACKAGES = {"stream", "scorer", "trainer", "deploy"}


def start_process(name: str, run: Callable[[], None]) -> None:
    """Run a process, once its settings are right.

    Args:
        name: Name of the process, in its logs and before its error.
        run: Runs it until it is told to stop.

    Raises:
        SystemExit: It cannot start or go on; one line on stderr has said why.
    """
    configure_logging(name)
    # Until a process has handlers of its own there is nothing to drain.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    try:
        check_settings()
        run()
    except _EXPECTED as error:
        end_with(name, error)


def require_cluster() -> None:
    """Refuse at once, before anything slow is loaded, where no cluster answers.

    Raises:
        ClusterError: None does.
    """
    connect_admin(KafkaSettings()).close()


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
