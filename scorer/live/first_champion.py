"""The first champion of a process that answers before it has one."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Self

from scorer.live.live_models import LiveModels
from stream.process.vital_thread import vital_thread


class FirstChampion:
    """Waits for the first champion in a thread of its own, and follows the releases from then on.

    Args:
        wait: Returns the versions that serve once there are some; used by that thread alone.

    Attributes:
        models: The versions that serve; None until the first is loaded.
    """

    def __init__(self, wait: Callable[[], LiveModels]) -> None:
        self.models: LiveModels | None = None
        self._wait = wait
        self._stack = ExitStack()

    @contextmanager
    def following(self) -> Iterator[Self]:
        """Wait, then follow the releases, for as long as the context lasts."""
        vital_thread(self._follow, "first-champion").start()
        with self._stack:
            yield self

    def _follow(self) -> None:
        self.models = self._stack.enter_context(self._wait().following())
