from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from scorer.live.first_champion import FirstChampion
from scorer.live.live_models import LiveModels
from scorer.live.metrics import ModelMetrics
from scorer.live.release_loader import ReleaseLoader
from scorer.model.settings import ModelSettings
from scorer.settings import ScorerSettings
from tests.scorer.live.test_live_models import BrokenFollower, Published
from tests.scorer.processes import wait_until

METRICS = ("millstream_service_model_number", "millstream_service_releases_polled_timestamp_seconds")


def first_champion(follower: BrokenFollower, shown: CollectorRegistry) -> FirstChampion:
    metrics = ModelMetrics(shown, "service")
    loader = ReleaseLoader(ModelSettings(device="cpu"))
    settings = ScorerSettings(frozen_share=0.0)

    def wait() -> LiveModels:
        bundle, releases = loader.wait_for_champion(follower, {})
        return LiveModels(bundle, follower, releases, loader=loader, settings=settings, metrics=metrics)

    return FirstChampion(wait)


def test_a_champion_that_comes_later_is_loaded_and_followed(tmp_path: Path) -> None:
    published, shown = Published(tmp_path), CollectorRegistry()
    with first_champion(BrokenFollower([], published.release(2)), shown).following() as first:
        assert first.models is None
        wait_until(lambda: first.models is not None, "the first champion")
        assert first.models.version == "00000000-000002"
        assert [shown.get_sample_value(name) for name in METRICS] == [2.0, 42.0]


def test_an_unexpected_error_while_it_waits_ends_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[BaseException] = []
    monkeypatch.setattr("stream.process.vital_thread.end_process", lambda _what, error, **_facts: ended.append(error))
    error = RuntimeError("unexpected")
    with first_champion(BrokenFollower([error]), CollectorRegistry()).following():
        wait_until(lambda: ended == [error], "the end of the process")
