"""Loads the versions that releases name, and waits for the first that can serve."""

import time
from collections.abc import Mapping
from pathlib import Path

import structlog
from kafka.errors import KafkaError

from scorer.engine.golden import golden_problem, golden_z
from scorer.model.bundle import ModelBundle
from scorer.model.device import prepare_device
from scorer.model.settings import ModelSettings
from scorer.registry.registry import ModelRegistry
from scorer.registry.settings import RegistrySettings
from scorer.registry.version_store import RegistryError, released_root
from stream.cluster.releases import ReleaseFollower
from stream.events import Alias, ModelRelease

WAIT_LOG_SECONDS = 30.0

SERVING_ALIASES: tuple[Alias, ...] = ("champion", "previous")
"""What may serve at the start, best first."""


class ReleaseLoader:
    """Loads released versions onto this process's device.

    Args:
        model: Device, threads and cache size.
        root: Where this process has the registry; as the settings say when None.
    """

    def __init__(self, model: ModelSettings, root: Path | None = None) -> None:
        self._device = prepare_device(model)
        self._cached_segments = model.cached_segments
        self._root = root or RegistrySettings().root()

    def registry(self, release: ModelRelease) -> ModelRegistry:
        """Return the registry that holds a released version.

        Raises:
            RegistryError: its location is of a kind that cannot be read.
        """
        return ModelRegistry(released_root(release, self._root))

    def load(self, release: ModelRelease, *, sharing: ModelBundle | None = None) -> ModelBundle:
        """Return the released version, its files and answers checked; what equals `sharing` is shared with it.

        Raises:
            RegistryError: it cannot be read, is not what was released, or does not answer as it did when published.
        """
        registry = self.registry(release)
        digest = registry.digest(release.version)
        if digest != release.digest:
            message = f"version {release.version}: its manifest has sha256 {digest}, the release names {release.digest}"
            raise RegistryError(message)
        bundle = registry.load(
            release.version, sharing=sharing, device=self._device, cached_segments=self._cached_segments
        )
        if problem := golden_problem(golden_z(bundle), registry.manifest(release.version).golden_z):
            message = f"version {release.version}: {problem}; serve another version"
            raise RegistryError(message)
        return bundle

    def wait_for_champion(
        self, follower: ReleaseFollower, releases: Mapping[Alias, ModelRelease]
    ) -> tuple[ModelBundle, dict[Alias, ModelRelease]]:
        """Return the first champion that can be loaded, and the newest release of each alias; wait while there is none.

        When the champion cannot be loaded but its predecessor can, that one serves until the next release.

        Args:
            follower: Where further releases come from.
            releases: What it has given so far.
        """
        log = structlog.get_logger(__name__)
        latest = dict(releases)
        next_log_at = 0.0
        while True:
            bundle, problems = self._load_first(latest)
            if bundle is not None:
                for problem in problems:
                    log.error("release_unusable", message=problem)
                log.info("model_loaded", version=bundle.version, precision=bundle.precision)
                return bundle, latest
            if time.monotonic() >= next_log_at:
                next_log_at = time.monotonic() + WAIT_LOG_SECONDS
                if problems:
                    remedy = "it is tried again until it can be read; 'millstream doctor' says what is wrong"
                    log.error("waiting_for_champion", unusable=problems, remedy=remedy)
                else:
                    log.info("waiting_for_champion", remedy="'millstream models init' announces the first version")
            # What could not be read may become readable, so every round tries again.
            try:
                latest |= {release.alias: release for release in follower.poll(timeout_ms=1_000)}
            except (KafkaError, OSError) as error:
                log.warning("releases_unreadable", message=str(error))
                time.sleep(1.0)

    def _load_first(self, latest: Mapping[Alias, ModelRelease]) -> tuple[ModelBundle | None, list[str]]:
        problems: list[str] = []
        for alias in SERVING_ALIASES:
            if (release := latest.get(alias)) is not None:
                try:
                    return self.load(release), problems
                except (RegistryError, OSError) as error:
                    problems.append(f"{alias} {error}")
        return None, problems
