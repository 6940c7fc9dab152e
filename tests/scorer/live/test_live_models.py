from pathlib import Path

import pytest
from kafka.errors import KafkaConnectionError
from msgspec.structs import replace
from prometheus_client import CollectorRegistry

from scorer.live.live_models import LiveModels
from scorer.live.metrics import ModelMetrics
from scorer.live.release_loader import ReleaseLoader
from scorer.model.bundle import ModelBundle
from scorer.model.settings import ModelSettings
from scorer.registry.registry import ModelRegistry
from scorer.settings import ScorerSettings
from stream.cluster.releases import ReleaseFollower
from stream.events import Alias, ModelRelease
from stream.settings import KafkaSettings
from tests.doubles import tiny_bundle
from tests.scorer.processes import publish, wait_until

CPU = ModelSettings(device="cpu")


class SilentFollower:
    """A follower that has nothing to tell."""

    polled_seconds = 0.0

    def poll(self, timeout_ms: int = 0) -> list[ModelRelease]:
        return []

    def close(self) -> None: ...


class Published:
    """A registry with tiny versions of one line, and their releases."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.registry = ModelRegistry(root / "registry")

    def release(self, number: int, alias: Alias = "champion") -> ModelRelease:
        bundle = self.bundle(number)
        digest = self.registry.publish(bundle, created_ms=1)
        return ModelRelease(
            alias=alias,
            version=bundle.version,
            digest=digest,
            location=self.registry.root.as_uri(),
            reason="promoted",
            created_ms=1,
        )

    def bundle(self, number: int) -> ModelBundle:
        bundle = tiny_bundle(self.root / "tokenizer", number=number)
        bundle.model.head.bias.data.fill_(0.1 * number)
        return bundle


@pytest.fixture
def published(tmp_path: Path) -> Published:
    return Published(tmp_path)


@pytest.fixture
def shown() -> CollectorRegistry:
    return CollectorRegistry()


def live_models(
    published: Published, shown: CollectorRegistry, *releases: ModelRelease, frozen_share: float = 0.25
) -> LiveModels:
    loader = ReleaseLoader(CPU)
    bundle, latest = loader.wait_for_champion(SilentFollower(), {release.alias: release for release in releases})
    return LiveModels(
        bundle,
        SilentFollower(),
        latest,
        loader=loader,
        settings=ScorerSettings(frozen_share=frozen_share),
        metrics=ModelMetrics(shown, "scorer"),
    )


def swaps(shown: CollectorRegistry, result: str) -> float | None:
    return shown.get_sample_value("millstream_scorer_swaps_total", {"result": result})


def test_the_first_champion_serves_and_is_no_swap(published: Published, shown: CollectorRegistry) -> None:
    models = live_models(published, shown, published.release(3))
    assert models.version == "00000000-000003"
    assert swaps(shown, "switched") == 0
    assert shown.get_sample_value("millstream_scorer_model_number") == 3


def test_a_new_champion_is_switched_to_and_counted(published: Published, shown: CollectorRegistry) -> None:
    models = live_models(published, shown, published.release(0))
    models.apply([published.release(1)])
    assert models.version == "00000000-000001"
    assert swaps(shown, "switched") == 1
    assert shown.get_sample_value("millstream_scorer_model_number") == 1


def test_of_several_champions_only_the_newest_is_loaded(published: Published, shown: CollectorRegistry) -> None:
    models = live_models(published, shown, published.release(0))
    models.apply([published.release(1), published.release(2)])
    assert models.version == "00000000-000002"
    assert swaps(shown, "switched") == 1


def test_the_same_champion_again_is_unchanged(published: Published, shown: CollectorRegistry) -> None:
    models = live_models(published, shown, published.release(0))
    models.apply([published.release(0)])
    assert swaps(shown, "unchanged") == 1


def test_a_champion_of_another_digest_leaves_the_live_version_serving(
    published: Published, shown: CollectorRegistry
) -> None:
    models = live_models(published, shown, published.release(0))
    models.apply([replace(published.release(1), digest="0" * 64)])
    assert models.version == "00000000-000000"
    assert swaps(shown, "digest") == 1


def test_a_damaged_champion_leaves_the_live_version_serving(published: Published, shown: CollectorRegistry) -> None:
    models = live_models(published, shown, published.release(0))
    release = published.release(1)
    (published.registry.path(release.version) / "trained.safetensors").write_bytes(b"junk")
    models.apply([release])
    assert models.version == "00000000-000000"
    assert swaps(shown, "switched") == 0


def test_the_frozen_version_is_loaded_apart_from_the_live_one(published: Published, shown: CollectorRegistry) -> None:
    models = live_models(published, shown, published.release(0), published.release(0, "frozen"))
    models.apply([published.release(1)])
    assert models.roles.frozen is not None
    assert (models.roles.frozen.version, models.version) == ("00000000-000000", "00000000-000001")
    assert shown.get_sample_value("millstream_scorer_frozen_loads_total", {"result": "loaded"}) == 1


def test_without_a_frozen_share_the_frozen_version_is_not_loaded(
    published: Published, shown: CollectorRegistry
) -> None:
    frozen = published.release(0, "frozen")
    assert live_models(published, shown, published.release(0), frozen, frozen_share=0.0).roles.frozen is None


def test_a_broken_champion_at_the_start_lets_its_predecessor_serve(
    published: Published, shown: CollectorRegistry
) -> None:
    champion = published.release(1)
    (published.registry.path(champion.version) / "trained.safetensors").write_bytes(b"junk")
    models = live_models(published, shown, champion, published.release(0, "previous"))
    assert models.version == "00000000-000000"


class BrokenFollower(SilentFollower):
    """A follower that fails with one error after the other, then has something to tell."""

    def __init__(self, errors: list[Exception], *releases: ModelRelease) -> None:
        self._errors = errors
        self._releases = list(releases)

    def poll(self, timeout_ms: int = 0) -> list[ModelRelease]:
        if self._errors:
            raise self._errors.pop(0)
        found, self._releases = self._releases, []
        self.polled_seconds = 42.0
        return found


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> list[BaseException]:
    """Return the errors that would have ended the process."""
    errors: list[BaseException] = []
    monkeypatch.setattr("stream.process.vital_thread.end_process", lambda _what, error, **_facts: errors.append(error))
    return errors


def followed(published: Published, shown: CollectorRegistry, follower: SilentFollower) -> LiveModels:
    loader = ReleaseLoader(CPU)
    bundle = loader.load(published.release(0))
    metrics = ModelMetrics(shown, "scorer")
    return LiveModels(bundle, follower, {}, loader=loader, settings=ScorerSettings(), metrics=metrics)


def test_an_unexpected_error_in_the_thread_ends_the_process(
    published: Published, shown: CollectorRegistry, ended: list[BaseException]
) -> None:
    error = RuntimeError("unexpected")
    with followed(published, shown, BrokenFollower([error])).following():
        wait_until(lambda: ended == [error], "the end of the process")


def test_an_error_in_a_switch_ends_the_process(
    published: Published, shown: CollectorRegistry, ended: list[BaseException]
) -> None:
    models = followed(published, shown, BrokenFollower([], published.release(1)))
    models.slot.switch = lambda _staged: 1 / 0
    with models.following():
        wait_until(lambda: [type(error) for error in ended] == [ZeroDivisionError], "the end of the process")


@pytest.mark.parametrize("error", [KafkaConnectionError("the broker is away"), OSError("no route to host")])
def test_a_broker_that_is_away_does_not_end_it(
    published: Published, shown: CollectorRegistry, ended: list[BaseException], error: Exception
) -> None:
    with followed(published, shown, BrokenFollower([error], published.release(1))).following() as models:
        wait_until(lambda: models.version == "00000000-000001", "the swap")
    assert ended == []
    assert shown.get_sample_value("millstream_scorer_releases_polled_timestamp_seconds") == 42.0


@pytest.mark.kafka
def test_the_thread_hears_a_release_and_retries_one_it_could_not_read(
    kafka: KafkaSettings, published: Published, shown: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scorer.live.live_models.RETRY_SECONDS", 0.2)
    monkeypatch.setenv("MILLSTREAM_REGISTRY_DIRECTORY", str(published.registry.root))
    loader = ReleaseLoader(CPU)
    follower = ReleaseFollower(kafka)
    bundle = loader.load(published.release(0))
    metrics = ModelMetrics(shown, "scorer")
    hidden = published.root / "hidden"
    models = LiveModels(bundle, follower, {}, loader=loader, settings=ScorerSettings(), metrics=metrics)
    with models.following():
        publish(kafka, published.registry, published.bundle(1), "champion")
        wait_until(lambda: models.version == "00000000-000001", "the swap")
        second = published.bundle(2)
        digest = published.registry.publish(second, created_ms=1)
        published.registry.path(second.version).rename(hidden)
        models.apply([published_release(published, second.version, digest)])
        assert swaps(shown, "unreadable") == 1
        hidden.rename(published.registry.path(second.version))
        wait_until(lambda: models.version == second.version, "the retry")


def published_release(published: Published, version: str, digest: str) -> ModelRelease:
    return ModelRelease(
        alias="champion",
        version=version,
        digest=digest,
        location=str(published.registry.root),
        reason="promoted",
        created_ms=1,
    )
