"""The settings file that `MILLSTREAM_CONFIG` names: TOML, one table for each group of settings."""

import os
import tomllib
from pathlib import Path
from typing import Any


def settings_file() -> Path | None:
    """Return the file that `MILLSTREAM_CONFIG` names; None where it names none."""
    path = os.environ.get("MILLSTREAM_CONFIG")
    return Path(path) if path else None


def read_settings_file() -> dict[str, dict[str, Any]]:
    """Return the tables of the settings file by group; empty where there is no file.

    Raises:
        ValueError: The file cannot be read, is no TOML, or holds something outside of a table.
    """
    path = settings_file()
    if path is None:
        return {}
    tables = _parse(path)
    for name, table in tables.items():
        if not isinstance(table, dict):
            message = (
                f"MILLSTREAM_CONFIG={path}: {name} is no table; write the name of a group in brackets, such as [join], "
                "on a line of its own and its fields below it"
            )
            raise ValueError(message)
    return tables


def _parse(path: Path) -> dict[str, Any]:
    try:
        if not path.is_file():
            message = f"MILLSTREAM_CONFIG={path} is not a file; name a TOML file or unset the variable"
            raise ValueError(message)
        # Editors of Windows put a byte order mark before UTF-8, which is no TOML.
        return tomllib.loads(path.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        message = f"MILLSTREAM_CONFIG={path} cannot be read ({error.strerror}); name a file that this user may read"
        raise ValueError(message) from error
    except UnicodeDecodeError as error:
        message = f"MILLSTREAM_CONFIG={path} is not UTF-8 (byte {error.start}); save it as UTF-8"
        raise ValueError(message) from error
    except tomllib.TOMLDecodeError as error:
        message = f"MILLSTREAM_CONFIG={path} is no TOML: {error}; texts need quotes, numbers and true or false do not"
        raise ValueError(message) from error
    except RecursionError as error:
        message = f"MILLSTREAM_CONFIG={path} is nested too deep; it holds tables of plain fields only"
        raise ValueError(message) from error
