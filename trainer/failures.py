"""Which errors end the process, and which would only come back."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch

from stream.disk.durable_files import StorageError

Result = TypeVar("Result")

ENVIRONMENT = (OSError, StorageError)
"""Errors of the machine: another try, perhaps after a restart, may succeed."""

OUT_OF_MEMORY = (MemoryError, torch.OutOfMemoryError)
"""May be of the machine, or of a batch that never fits; only another try tells."""


@dataclass(frozen=True)
class Failed:
    """A computation that failed and would fail again on the same input."""

    error: Exception


def attempt(compute: Callable[[], Result]) -> Result | Failed:
    """Return the result of a computation, or that it failed.

    A plan is on disk before its update runs, so an error that follows from the plan's rows comes back at every restart:
    it must end as a hold or as rows that failed, never as the end of the process. Errors of the machine are raised.
    """
    try:
        return compute()
    except ENVIRONMENT:
        raise
    except Exception as error:  # noqa: BLE001 (whatever it is, the caller says what becomes of it)
        return Failed(error)
