"""The versions that serve in this process, kept as the model releases name them."""

import threading
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import structlog
from kafka.errors import KafkaError

from scorer.engine.engine import Engine
from scorer.engine.golden import golden_problem, golden_z
from scorer.live.metrics import ModelMetrics
from scorer.live.model_slot import ModelSlot, SwapError
from scorer.model.bundle import ModelBundle
from scorer.model.device import prepare_device
from scorer.model.settings import ModelSettings
from scorer.registry.registry import ModelRegistry
from scorer.registry.settings import RegistrySettings
from scorer.registry.version_store import RegistryError, released_root
from scorer.settings import ScorerSettings
from stream.cluster.releases import ReleaseFollower
from stream.events import Alias, ModelRelease
from stream.process.vital_thread import vital_thread

POLL_MS = 200
RETRY_SECONDS = 5.0
"""How often a release that could not be read is tried again while it is the newest of its alias: a registry on a
network may show a version later than Kafka tells of it."""

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


class LiveModels:
    """Follows the releases in a thread of its own: prepares each new champion aside and switches to it.

    Whatever is wrong with a release, the live version serves on. Any other error ends the process: a thread that died
    would leave an old version serving for ever, and one that died in a switch a mixed one.

    The engine lets no switch happen inside a call of `score`, so versions never mix in a micro-batch.

    Args:
        bundle: The first live version.
        follower: Used by the thread alone once it runs; closed with this object.
        releases: The newest release of each alias so far.
        loader: Loads the frozen version.
        settings: Of the engine; with a `frozen_share` of 0 the frozen version is not loaded.
        metrics: What to count in.
    """

    def __init__(
        self,
        bundle: ModelBundle,
        follower: ReleaseFollower,
        releases: Mapping[Alias, ModelRelease],
        *,
        loader: ReleaseLoader,
        settings: ScorerSettings,
        metrics: ModelMetrics,
    ) -> None:
        self.slot = ModelSlot(bundle, settings)
        self.frozen: Engine | None = None
        self._follower = follower
        self._loader = loader
        self._settings = settings
        self._metrics = metrics
        self._unread: dict[Alias, ModelRelease] = {}
        self._retry_at = 0.0
        self._stopping = threading.Event()
        self._thread = vital_thread(self._follow, "model-releases")
        metrics.releases_polled.set_function(lambda: follower.polled_seconds)
        metrics.show_version(bundle.version)
        # The champion that was loaded is no swap; one that could not be loaded at the start is tried again here.
        self.apply(
            release for release in releases.values() if (release.alias, release.version) != ("champion", bundle.version)
        )

    @property
    def engine(self) -> Engine:
        """Engine of the live version."""
        return self.slot.engine

    @property
    def version(self) -> str:
        """The version that serves."""
        return self.slot.version

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._thread.join()
        self._follower.close()

    def apply(self, releases: Iterable[ModelRelease]) -> None:
        """Serve what the newest release of each alias names; older ones of the same alias are passed over."""
        latest = {release.alias: release for release in releases}
        if "champion" in latest:
            self._swap(latest["champion"])
        if "frozen" in latest and self._settings.frozen_share > 0:
            self._load_frozen(latest["frozen"])

    def _follow(self) -> None:
        while not self._stopping.is_set():
            try:
                releases = self._follower.poll(timeout_ms=POLL_MS)
            except (KafkaError, OSError) as error:
                structlog.get_logger(__name__).warning("releases_unreadable", message=str(error))
                self._stopping.wait(1.0)
                continue
            if self._unread and time.monotonic() >= self._retry_at:
                releases = [*self._unread.values(), *releases]
            self.apply(releases)

    def _swap(self, release: ModelRelease) -> None:
        self._unread.pop("champion", None)
        if release.version == self.slot.version:
            self._metrics.swaps.labels("unchanged").inc()
            return
        try:
            with self._metrics.swap_seconds.labels("prepare").time():
                staged = self.slot.prepare(release, self._loader.registry(release))
        except SwapError as error:
            self._refuse(release, error.reason, error)
            return
        except Exception as error:  # noqa: BLE001 (whatever is wrong with a release, the live version serves on)
            self._refuse(release, "unreadable", error)
            return
        with self._metrics.swap_seconds.labels("switch").time():
            self.slot.switch(staged)
        self._metrics.swaps.labels("switched").inc()
        self._metrics.show_version(release.version)
        self._metrics.release_delay.observe(time.time() - release.created_ms / 1000)
        structlog.get_logger(__name__).info("model_switched", version=release.version, reason=release.reason)

    def _refuse(self, release: ModelRelease, reason: str, error: Exception) -> None:
        self._metrics.swaps.labels(reason).inc()
        if reason == "unreadable":
            self._try_again(release)
        structlog.get_logger(__name__).error(
            "release_refused", version=release.version, live=self.slot.version, reason=reason, message=str(error)
        )

    def _load_frozen(self, release: ModelRelease) -> None:
        self._unread.pop("frozen", None)
        log = structlog.get_logger(__name__).bind(version=release.version)
        try:
            bundle = self._loader.load(release, sharing=self.slot.engine.bundle)
        except Exception as error:  # noqa: BLE001 (the live version serves on without it)
            self._metrics.frozen_loads.labels("failed").inc()
            self._try_again(release)
            log.error("frozen_refused", message=str(error))
            return
        self.frozen = Engine(bundle, self._settings)
        self._metrics.frozen_loads.labels("loaded").inc()
        log.info("frozen_loaded")

    def _try_again(self, release: ModelRelease) -> None:
        self._unread[release.alias] = release
        self._retry_at = time.monotonic() + RETRY_SECONDS
