"""A settings file: what `MILLSTREAM_CONFIG` names, written by a machine for people to read."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tomli_w

from stream.configuration.settings_file import read_settings_file
from stream.disk.durable_files import storing, write_durably


def write_settings_file(path: Path, tables: Mapping[str, Mapping[str, Any]], heading: Sequence[str]) -> None:
    """Write settings as a TOML file that every process reads when `MILLSTREAM_CONFIG` names it.

    What the present `MILLSTREAM_CONFIG` file says stays, but for the fields that are written: one file is read, so the
    new one has to say everything.

    Args:
        path: The new file; it appears whole or not at all.
        tables: Fields by group.
        heading: Comment lines at the top.

    Raises:
        ValueError: the file exists, or the present one cannot be read.
    """
    refuse_existing(path)
    merged: dict[str, Any] = read_settings_file()
    for group, fields in tables.items():
        merged[group] = {**merged.get(group, {}), **fields}
    with storing(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(f"# {line}\n" for line in heading) + "\n" + tomli_w.dumps(merged)
    write_durably(path, text.encode())


def refuse_existing(path: Path) -> None:
    """Refuse to write where somebody's settings are: to be asked before the work whose result they would be.

    Raises:
        ValueError: the file exists.
    """
    if path.exists():
        message = f"{path} exists, and settings are never overwritten; name another file (--out) or remove it"
        raise ValueError(message)
