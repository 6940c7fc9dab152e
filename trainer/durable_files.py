"""Files that are either there whole or not there, after any crash."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path


def write_durably(path: Path, content: bytes) -> None:
    """Write a file beside its place, fsync it and rename it: a reader sees the old file or all of the new one."""
    partial = path.with_name(f".{path.name}.partial")
    _write_synced(partial, content)
    os.replace(partial, path)
    sync_directory(path.parent)


def write_directory_durably(path: Path, files: dict[str, bytes], *, before_rename: Callable[[], None]) -> None:
    """Write a new directory of files as one unit.

    Args:
        path: The directory; must not exist.
        files: Content by file name.
        before_rename: Called when everything is on disk and nothing is visible yet; tests crash here.
    """
    partial = path.with_name(f".{path.name}.partial")
    if partial.exists():
        remove_directory(partial)
    partial.mkdir(parents=True)
    for name, content in files.items():
        _write_synced(partial / name, content)
    sync_directory(partial)
    before_rename()
    os.rename(partial, path)
    sync_directory(path.parent)


def remove_directory(path: Path) -> None:
    """Remove a flat directory, renamed first, so that a crash half-way leaves nothing that looks complete."""
    doomed = path.with_name(f".{path.name.lstrip('.')}.removed")
    if path != doomed:
        os.rename(path, doomed)
    for entry in doomed.iterdir():
        entry.unlink()
    doomed.rmdir()


def sync_directory(path: Path) -> None:
    """Make renames inside a directory durable."""
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
