"""The versions that serve in this process, kept as the model releases name them."""

import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Self

import structlog
from kafka.errors import KafkaError

from scorer.engine.engine import Engine
from scorer.live.metrics import ModelMetrics
from scorer.live.model_slot import ModelSlot, SwapError
from scorer.live.release_loader import ReleaseLoader
from scorer.live.roles import Roles
from scorer.model.bundle import ModelBundle
from scorer.settings import ScorerSettings
from stream.cluster.releases import ReleaseFollower
from stream.events import Alias, ModelRelease
from stream.process.vital_thread import vital_thread

POLL_MS = 200
RETRY_SECONDS = 5.0
"""How often a release that could not be read is tried again while it is the newest of its alias: a registry on a
network may show a version later than Kafka tells of it."""


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
        self.roles = Roles(self.slot.engine)
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
    def version(self) -> str:
        """The version that serves."""
        return self.slot.engine.version

    @contextmanager
    def following(self) -> Iterator[Self]:
        """Follow the releases for as long as the context lasts, then close the follower."""
        with closing(self._follower):
            self._thread.start()
            try:
                yield self
            finally:
                self._stopping.set()
                self._thread.join()

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
        if release.version == self.version:
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
            "release_refused", version=release.version, live=self.version, reason=reason, message=str(error)
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
        self.roles.frozen = Engine(bundle, self._settings)
        self._metrics.frozen_loads.labels("loaded").inc()
        log.info("frozen_loaded")

    def _try_again(self, release: ModelRelease) -> None:
        self._unread[release.alias] = release
        self._retry_at = time.monotonic() + RETRY_SECONDS
