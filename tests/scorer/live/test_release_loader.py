import json
from pathlib import Path

import pytest
import structlog
from msgspec.structs import replace

from scorer.live.release_loader import ReleaseLoader
from scorer.registry.version_store import RegistryError
from stream.events import ModelRelease
from tests.scorer.live.test_live_models import CPU, Published, SilentFollower


@pytest.fixture
def published(tmp_path: Path) -> Published:
    return Published(tmp_path)


def test_a_wait_for_a_registry_says_now_and_then_what_cannot_be_used(published: Published) -> None:
    release = published.release(0)
    hidden = published.registry.root.rename(published.root / "hidden")

    class Mounting(SilentFollower):
        polls = 0

        def poll(self, timeout_ms: int = 0) -> list[ModelRelease]:
            self.polls += 1
            if self.polls == 20:
                hidden.rename(published.registry.root)
            return []

    with structlog.testing.capture_logs() as logs:
        bundle, _ = ReleaseLoader(CPU, published.registry.root).wait_for_champion(Mounting(), {"champion": release})
    assert bundle.version == release.version
    [waiting] = [line for line in logs if line["event"] == "waiting_for_champion"]
    assert "MILLSTREAM_REGISTRY_DIRECTORY" in waiting["unusable"][0]


def test_a_location_that_is_no_path_is_refused_with_the_remedy(published: Published) -> None:
    with pytest.raises(RegistryError, match="mount the registry"):
        ReleaseLoader(CPU).load(replace(published.release(0), location="s3://bucket/models"))


def test_a_release_of_a_registry_that_moved_is_loaded_from_where_this_process_has_it(published: Published) -> None:
    absolute = published.release(0)
    relative = replace(absolute, location=absolute.version)
    moved = published.registry.root.rename(published.root / "moved")
    for release in (absolute, relative):
        assert ReleaseLoader(CPU, moved).load(release).version == release.version
    assert not published.registry.root.exists()


def test_a_loader_that_finds_no_registry_makes_none_and_names_the_setting(published: Published) -> None:
    nowhere = published.root / "nowhere"
    with pytest.raises(RegistryError, match="MILLSTREAM_REGISTRY_DIRECTORY"):
        ReleaseLoader(CPU, nowhere).load(replace(published.release(0), location="00000000-000000"))
    assert not nowhere.exists()


def test_a_version_that_does_not_answer_as_published_is_not_loaded(published: Published) -> None:
    release = published.release(0)
    manifest = published.registry.path(release.version) / "manifest.json"
    values = json.loads(manifest.read_bytes())
    values["golden_z"][1] += 1.0
    manifest.write_text(json.dumps(values))
    changed = replace(release, digest=published.registry.digest(release.version))
    with pytest.raises(RegistryError, match="golden input 1"):
        ReleaseLoader(CPU).load(changed)
