"""Threads without which a process is of no use: an error that leaves one ends the process."""

import os
import threading
from collections.abc import Callable
from typing import NoReturn

import structlog

FAILED = 1


def end_process(what: str, error: BaseException | None = None, **facts: object) -> NoReturn:
    """End this process at once with status 1, after one log line that says why, with the error's traceback.

    Nothing is lost: what was not acknowledged is read again by the next process. Nothing is drained either, since
    whoever calls this cannot trust the other threads.
    """
    remedy = "its supervisor starts it again; if it ends so again, the traceback says what to mend"
    if error is not None:
        facts |= {"message": f"{type(error).__name__}: {error}", "exc_info": error}
    structlog.get_logger(__name__).critical(what, remedy=remedy, **facts)
    os._exit(FAILED)


def vital_thread(work: Callable[[], object], name: str) -> threading.Thread:
    """Return a daemon thread, not started, that does the work; an error that leaves the work ends the process."""

    def guarded() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 (whatever it is, the process would go on without this thread)
            end_process("thread_died", error, thread=name)

    return threading.Thread(target=guarded, name=name, daemon=True)
