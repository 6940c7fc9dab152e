import pytest

from scorer.registry.registry import ModelRegistry
from stream.events import GateResult
from tests.doubles import ManualClock, tiny_bundle
from tests.trainer.rig import ReleaseTopic
from trainer.promotion.publication import Publisher
from trainer.state.line_state import Knowledge

PROMOTE = GateResult(decision="promote", reason="no_harm")


@pytest.fixture
def topic(tmp_path):
    return ReleaseTopic(tmp_path / "releases.jsonl")


def publisher_on(tmp_path, topic):
    announced = {release.alias: release for release in topic.read()}
    return Publisher(ModelRegistry(tmp_path / "registry"), topic.announce, announced, ManualClock())


def publish(publisher, tmp_path, number, parent=None):
    bundle = tiny_bundle(tmp_path / "tokenizer", number=number, seed=number)
    publisher.publish(bundle, parent=parent, knowledge=Knowledge(9, {0: 5, 1: 7}), gate=PROMOTE)
    return bundle.version


def test_a_release_says_what_a_scorer_needs(tmp_path, topic):
    publisher = publisher_on(tmp_path, topic)
    version = publish(publisher, tmp_path, 1)
    publisher.move({"champion": version}, "promoted")
    (release,) = topic.read()
    assert release.digest == publisher.registry.digest(version)
    assert (release.gate, release.covered_offsets) == (PROMOTE, {"0": 5, "1": 7})
    assert release.location == version


def test_the_alias_files_mirror_what_is_announced(tmp_path, topic):
    publisher = publisher_on(tmp_path, topic)
    first, second = (publish(publisher, tmp_path, number) for number in (0, 1))
    publisher.move({"champion": first}, "initialised")
    publisher.move({"previous": first, "champion": second}, "promoted")
    assert (publisher.registry.alias("champion"), publisher.registry.alias("previous")) == (second, first)
    assert [(release.alias, release.version) for release in topic.read()[1:]] == [
        ("previous", first),
        ("champion", second),
    ]


def test_what_is_known_is_not_announced_again(tmp_path, topic):
    publisher = publisher_on(tmp_path, topic)
    version = publish(publisher, tmp_path, 0)
    for _ in range(2):
        publisher.move({"champion": version}, "promoted")
    assert len(topic.read()) == 1


def test_a_restart_announces_what_was_published_and_not_announced(tmp_path, topic):
    publisher = publisher_on(tmp_path, topic)
    version = publish(publisher, tmp_path, 0)
    publisher.registry.set_alias("champion", version)
    assert publisher_on(tmp_path, topic).announce_missing("promoted") == ["champion"]
    assert [release.version for release in topic.read()] == [version]


def test_a_restart_announces_nothing_when_all_is_known(tmp_path, topic):
    publisher = publisher_on(tmp_path, topic)
    publisher.move({"champion": publish(publisher, tmp_path, 0)}, "promoted")
    assert publisher_on(tmp_path, topic).announce_missing("promoted") == []


def test_publishing_again_is_harmless(tmp_path, topic):
    publisher = publisher_on(tmp_path, topic)
    version = publish(publisher, tmp_path, 0)
    digest = publisher.registry.digest(version)
    assert publish(publisher, tmp_path, 0) == version
    assert publisher.registry.digest(version) == digest


def test_a_damaged_old_version_does_not_keep_the_others_from_being_announced(tmp_path, topic):
    publisher = publisher_on(tmp_path, topic)
    old, new = (publish(publisher, tmp_path, number) for number in (1, 2))
    for alias, version in (("previous", old), ("champion", new)):
        publisher.registry.set_alias(alias, version)
    path = publisher.registry.path(old) / "manifest.json"
    path.write_bytes(b"\xff" + path.read_bytes())
    assert publisher_on(tmp_path, topic).announce_missing("promoted") == ["champion"]
