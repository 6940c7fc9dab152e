"""Digests of the files of a version directory."""

from collections.abc import Mapping
from hashlib import file_digest
from pathlib import Path


def sha256_of(path: Path) -> str:
    """Return the hex digest of a file."""
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def file_problems(directory: Path, digests: Mapping[str, str]) -> list[str]:
    """Return which files are missing or are not what was published, one line each."""
    problems = []
    for name, digest in digests.items():
        # A manifest is input too: it must not make us read outside its directory.
        try:
            found = sha256_of(directory / name) if Path(name).name == name else None
        except (OSError, ValueError):  # not there, not ours to read, or no name of a file at all
            found = None
        if found is None:
            problems.append(f"{name}: missing")
        elif found != digest:
            problems.append(f"{name}: sha256 is {found}, published as {digest}")
    return problems
