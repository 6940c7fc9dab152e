"""Where local state lives."""

import os
from pathlib import Path


def state_directory() -> Path:
    """Return where local state lives: `MILLSTREAM_HOME`, else `millstream` in the user's state directory."""
    if home := os.environ.get("MILLSTREAM_HOME"):
        return Path(home)
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "millstream"
