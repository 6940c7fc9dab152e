"""The first champion of a process that answers before it has one."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Self

from scorer.live.live_models import LiveModels
from scorer.live.metrics import ModelMetrics
from scorer.live.release_loader import ReleaseLoader
from scorer.settings import ScorerSettings
from stream.cluster.releases import ReleaseFollower
from stream.events import Alias, ModelRelease
from stream.process.vital_thread import vital_thread


class FirstChampion:
    """Waits for the first champion in a thread of its own, and follows the releases from then on.

    Args:
        follower: Used by that thread alone.
        releases: The newest release of each alias so far.
        loader: Loads versions.
        settings: Of the engine.
        metrics: What to count in.

    Attributes:
        models: The versions that serve; None until the first is loaded.
    """

    def __init__(
        self,
        follower: ReleaseFollower,
        releases: Mapping[Alias, ModelRelease],
        *,
        loader: ReleaseLoader,
        settings: ScorerSettings,
        metrics: ModelMetrics,
    ) -> None:
        self.models: LiveModels | None = None
        self._follower = follower
        self._releases = releases
        self._loader = loader
        self._settings = settings
        self._metrics = metrics
        self._stack = ExitStack()

    @contextmanager
    def following(self) -> Iterator[Self]:
        """Wait, then follow the releases, for as long as the context lasts."""
        vital_thread(self._wait, "first-champion").start()
        with self._stack:
            yield self

    def _wait(self) -> None:
        bundle, releases = self._loader.wait_for_champion(self._follower, self._releases)
        self.models = self._stack.enter_context(
            LiveModels(
                bundle,
                self._follower,
                releases,
                loader=self._loader,
                settings=self._settings,
                metrics=self._metrics,
            ).following()
        )
