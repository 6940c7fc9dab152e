"""Files that are either there whole or not there, after any crash; the one way in which state reaches the disk."""

import errno
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_REMEDIES = {
    errno.EACCES: "give this user the right to write there, or set MILLSTREAM_HOME to a directory of its own",
    errno.EPERM: "give this user the right to write there, or set MILLSTREAM_HOME to a directory of its own",
    errno.EROFS: "mount it for writing, or set MILLSTREAM_HOME to a disk that is",
    errno.ENOENT: "is the disk mounted, or was the directory removed while the process ran? Restore it and start again",
    errno.ENOTDIR: "a file stands where a directory should: move it away, or set MILLSTREAM_HOME to another directory",
}


class StorageError(RuntimeError):
    """State cannot be written, or may not be read; the message names the path and what to do. Nothing was changed."""


@contextmanager
def storing(path: Path, num_bytes: int = 0) -> Iterator[None]:
    """Tell in one line what keeps the block from writing.

    Args:
        path: What it writes.
        num_bytes: How much, for a disk that is full.

    Raises:
        StorageError: the file system refuses.
    """
    try:
        yield
    except OSError as error:
        reason = os.strerror(error.errno).lower() if error.errno else str(error)
        if error.errno in _FULL:
            message = (
                f"cannot write {path}: {num_bytes:,} bytes wanted, {free_bytes(path):,} free on its file system "
                f"({reason}); free space there, or set MILLSTREAM_HOME to a larger disk, and start again"
            )
        else:
            remedy = _REMEDIES.get(error.errno or 0, "look at its disk, or set MILLSTREAM_HOME to another one")
            message = f"cannot write {path}: {reason}; {remedy}"
        raise StorageError(message) from error


def free_bytes(path: Path) -> int:
    """Return what this user may still write on the file system of a path, which need not exist; 0 if nobody knows."""
    for place in (path, *path.absolute().parents):
        with suppress(OSError):
            return shutil.disk_usage(place).free
    return 0


def write_durably(path: Path, content: bytes) -> None:
    """Write a file beside its place, fsync it and rename it: a reader sees the old file or all of the new one.

    Raises:
        StorageError: it cannot be written; the old file is still there.
    """
    partial = path.with_name(f".{path.name}.partial")
    with storing(path, len(content)):
        try:
            _write_synced(partial, content)
            os.replace(partial, path)
        except OSError:
            with suppress(OSError):
                partial.unlink()
            raise
        sync(path.parent)


def write_directory_durably(path: Path, files: dict[str, bytes], *, before_rename: Callable[[], None]) -> None:
    """Write a new directory of files as one unit.

    Args:
        path: The directory; must not exist.
        files: Content by file name.
        before_rename: Called when everything is on disk and nothing is visible yet; tests crash here.

    Raises:
        StorageError: it cannot be written; nothing of it is left.
    """
    partial = path.with_name(f".{path.name}.partial")
    with storing(path, sum(map(len, files.values()))):
        shutil.rmtree(partial, ignore_errors=True)
        try:
            partial.mkdir(parents=True)
            for name, content in files.items():
                _write_synced(partial / name, content)
            sync(partial)
            before_rename()
            os.rename(partial, path)
        except OSError:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        sync(path.parent)


def remove_directory(path: Path) -> None:
    """Remove a directory, renamed first, so that a crash half-way leaves nothing that looks complete."""
    doomed = path.with_name(f".{path.name}.removed")
    with storing(path):
        shutil.rmtree(doomed, ignore_errors=True)
        os.rename(path, doomed)
        shutil.rmtree(doomed)


def sweep_leftovers(directory: Path) -> None:
    """Remove what crashes left half-written or half-removed below a directory; nobody may write there meanwhile."""
    for pattern in (".*.partial", ".*.removed"):
        for leftover in list(directory.rglob(pattern)):
            if leftover.is_dir():
                shutil.rmtree(leftover, ignore_errors=True)
            else:
                leftover.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Put a file, or the names in a directory, on the disk for good: without it a crash may forget a rename."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256(content: bytes) -> str:
    """Return the hex digest that manifests hold."""
    return hashlib.sha256(content).hexdigest()


def _write_synced(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
