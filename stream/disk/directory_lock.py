"""One process at a time in a directory of state."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stream.disk.durable_files import storing

LOCK_FILE = "lock"
"""Name of the file in a held directory; whoever removes it lets another process in."""


class DirectoryBusyError(ValueError):
    """Another process uses the directory; the message says what to do."""


@contextmanager
def directory_lock(directory: Path, remedy: str) -> Iterator[None]:
    """Hold a directory, made when missing, until the block or the process ends.

    Args:
        directory: What only one process of a machine may use.
        remedy: What the other should do, as the end of a sentence.

    Raises:
        DirectoryBusyError: another process holds it.
        StorageError: it cannot be made or written.
    """
    with storing(directory):
        directory.mkdir(parents=True, exist_ok=True)
        lock = (directory / LOCK_FILE).open("w")
    # The kernel releases the lock when the process ends, however it ends.
    with lock as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            message = f"another process is using {directory}; {remedy}"
            raise DirectoryBusyError(message) from error
        yield
