"""Where local state lives, and which process keeps what there."""

import os
from pathlib import Path
from typing import Literal

Kept = Literal["registry", "trainer", "evaluator", "faust", "ledgers", "kafka", "demo"]

OWNERS: dict[Kept, str] = {
    "registry": "the trainer, and `millstream models init`, write model versions here; scorer and service read them",
    "trainer": "the trainer alone: checkpoints, plans and ledger of each model line, and which line is live",
    "evaluator": "the evaluator alone: its snapshot",
    "faust": "each worker of stream, adapter and scorer: a directory of its group and instance, held while it runs",
    "ledgers": "`millstream simulate` and `millstream replay`: what they sent, for the audit",
    "kafka": "`millstream kafka up`: the local broker, its data and its logs",
    "demo": "`millstream demo`: a state directory of its own, made anew by each run",
}
"""Each directory of the state directory: who writes it, and what it holds."""


def state_directory() -> Path:
    """Return where local state lives: `MILLSTREAM_HOME`, else `millstream` in the user's state directory."""
    if home := os.environ.get("MILLSTREAM_HOME"):
        return Path(home)
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "millstream"


def place_of(kept: Kept, home: Path | None = None) -> Path:
    """Return a directory of the state directory, or of another one that is laid out alike."""
    return (home or state_directory()) / kept
