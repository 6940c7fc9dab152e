from contextlib import closing
from pathlib import Path

import pytest
from kafka import KafkaAdminClient, KafkaProducer, TopicPartition

from deploy.doctor import examine_releases
from deploy.model_operations import (
    announce_aliases,
    init_line,
    prune_versions,
    skip_lost_examples,
    verify_versions,
    warm_start_line,
)
from scorer.registry.registry import ModelRegistry
from stream.cluster.releases import ReleaseFollower
from stream.events import Click, Impression
from stream.play.recorded_log import write_events
from stream.settings import KafkaSettings
from stream.topics import topic_name
from tests.doubles import tiny_bundle
from tests.stream.cluster.test_gone_records import gone_letters
from tests.trainer.rig import Rig
from trainer.state.checkpoint import CheckpointError, load_latest

START_MS = 1_700_000_000_000


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MILLSTREAM_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def cluster(kafka: KafkaSettings, monkeypatch: pytest.MonkeyPatch) -> KafkaSettings:
    monkeypatch.setenv("MILLSTREAM_KAFKA_BOOTSTRAP", kafka.bootstrap)
    monkeypatch.setenv("MILLSTREAM_KAFKA_TOPIC_PREFIX", kafka.topic_prefix)
    monkeypatch.setenv("MILLSTREAM_KAFKA_PARTITIONS", str(kafka.partitions))
    monkeypatch.setenv("MILLSTREAM_MODEL_PRECISION", "fp32")
    return kafka


@pytest.mark.kafka
def test_a_line_that_retention_has_overtaken_is_moved_to_what_is_left(cluster: KafkaSettings, home: Path):
    Rig(home, ())
    assert skip_lost_examples().startswith("nothing is lost")
    topic = topic_name("weighted-examples", cluster)
    producer = KafkaProducer(**cluster.client_options())
    for _ in range(5):
        producer.send(topic, value=b"x", partition=1).get(timeout=30)
    producer.close()
    admin = KafkaAdminClient(**cluster.client_options())
    admin.delete_records({TopicPartition(topic, 1): 3})
    admin.close()

    done = skip_lost_examples()

    assert f"{topic} partition 1: offsets 0 to 2" in done
    assert load_latest(home / "trainer").state.offsets == {0: 0, 1: 3}
    assert gone_letters(cluster) == [(b"trainer", topic.encode(), b"0", b"2")]


@pytest.mark.kafka
def test_a_new_line_learns_a_log_and_serves(cluster: KafkaSettings, home: Path):
    events: list[Impression | Click] = []
    for number in range(40):
        at_ms = START_MS + 1000 * number
        shown = Impression(impression_id=f"i{number}", event_time_ms=at_ms, item_id="a", item_text="red shoe")
        events.append(shown)
        if number % 4 == 0:
            events.append(Click(click_id=f"c{number}", impression_id=f"i{number}", event_time_ms=at_ms + 1))
    write_events(home / "log.parquet", events)

    started = init_line()
    learned = warm_start_line(home / "log.parquet", limit=None, click_delay_seconds=1.0)

    registry = ModelRegistry(home / "registry")
    first, second = registry.versions()
    assert first in started
    assert f"version {second} has learned 40 rows with 10 clicks" in learned
    assert verify_versions(None) == []
    with closing(ReleaseFollower(cluster)) as follower:
        releases = follower.catch_up()
    assert {alias: release.version for alias, release in releases.items()} == {"champion": second, "frozen": second}


@pytest.mark.kafka
def test_a_line_that_serves_is_replaced_only_by_force_and_can_be_announced_again(cluster: KafkaSettings, home: Path):
    registry = ModelRegistry(home / "registry")
    serving = init_line().split()[1]
    with pytest.raises(ValueError, match=rf"version {serving} serves.*--force"):
        init_line()
    assert registry.versions() == [serving]

    new = init_line(force=True).split()[1]
    assert (registry.alias("champion"), registry.alias("previous")) == (new, serving)

    moved = registry.root.rename(home / "moved")
    ModelRegistry(moved).set_alias("champion", serving)
    [disagreement] = [f for f in examine_releases(cluster, moved) if f.state == "fail"]
    assert f"champion is {new}, the registry says {serving}" in disagreement.what
    assert not registry.root.exists()
    [lost, *_] = examine_releases(cluster, registry.root)
    assert "MILLSTREAM_REGISTRY_DIRECTORY" in lost.remedy

    moved.rename(registry.root)
    assert f"champion is {serving}" in announce_aliases()
    assert [finding.state for finding in examine_releases(cluster, registry.root)] == ["ok"]
    with closing(ReleaseFollower(cluster)) as follower:
        releases = follower.catch_up()
    assert {alias: release.version for alias, release in releases.items()} == {
        "champion": serving,
        "previous": serving,
        "frozen": new,
    }


@pytest.mark.usefixtures("home")
def test_nothing_is_announced_without_a_champion():
    with pytest.raises(ValueError, match="millstream models init"):
        announce_aliases()


def test_a_click_delay_outside_the_window_is_refused(home: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MILLSTREAM_JOIN_WINDOW_SECONDS", "3")

    with pytest.raises(ValueError, match=r"--click-delay 5 .* window of 3 s"):
        warm_start_line(home / "log.jsonl", limit=None, click_delay_seconds=5.0)


def test_verification_names_the_version_that_is_wrong(home: Path):
    registry = ModelRegistry(home / "registry")
    registry.publish(tiny_bundle(home / "tokenizer"), created_ms=START_MS)
    [version] = registry.versions()
    (registry.path(version) / "trained.safetensors").unlink()

    assert verify_versions(None) == [f"{version}: trained.safetensors: missing"]


def test_verification_misses_a_registry_and_what_an_alias_points_to(home: Path):
    assert verify_versions(None) == [f"there is no version in {home / 'registry'}"]
    registry = ModelRegistry(home / "registry")
    bundle = tiny_bundle(home / "tokenizer")
    registry.publish(bundle, created_ms=START_MS)
    registry.set_alias("champion", bundle.version)
    registry.path(bundle.version).rename(home / "elsewhere")

    [problem] = verify_versions(None)
    assert f"{bundle.version} is not in" in problem


def test_pruning_removes_the_oldest_without_an_alias(home: Path):
    registry = ModelRegistry(home / "registry")
    for number in range(3):
        registry.publish(tiny_bundle(home / "tokenizer", number=number), created_ms=START_MS + number)
    oldest, middle, _ = registry.versions()
    registry.set_alias("champion", oldest)

    assert prune_versions(1) == [middle]


def test_a_warm_start_without_a_line_says_at_once_how_to_make_one(home: Path):
    with pytest.raises(CheckpointError, match=r"make one with `millstream models init`, which"):
        warm_start_line(home / "history.jsonl", limit=None, click_delay_seconds=1)
