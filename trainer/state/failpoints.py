"""Failpoints: named places where a crash test ends the process as `kill -9` would."""

import os
import signal
from collections import Counter


class Failpoints:
    """Ends the process the nth time it passes a named place; without a setting it does nothing.

    Args:
        setting: `<name>:<n>`, as in the environment variable MILLSTREAM_FAILPOINT; empty for none.
    """

    def __init__(self, setting: str = "") -> None:
        self._name, _, count = setting.partition(":")
        self._count = int(count or 1)
        self._passed: Counter[str] = Counter()

    def pass_through(self, name: str) -> None:
        """Note that the process is at this place, and end it if its time has come."""
        self._passed[name] += 1
        if name == self._name and self._passed[name] == self._count:
            os.kill(os.getpid(), signal.SIGKILL)
