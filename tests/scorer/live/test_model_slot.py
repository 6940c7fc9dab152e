import dataclasses
import threading

import numpy as np
import pytest
import torch

from scorer.engine.engine import Engine
from scorer.live.model_slot import SWAP_RESULTS, ModelSlot, SwapError
from scorer.registry.version_files import FROZEN, TRAINED
from scorer.registry.version_store import MANIFEST, version_name
from scorer.settings import ScorerSettings
from stream.events import ModelRelease
from tests.doubles import TINY_LINE, tiny_bundle, tiny_impression, tiny_registry

IMPRESSIONS = [tiny_impression(index) for index in range(24)]


@pytest.fixture
def registry(tmp_path):
    return tiny_registry(tmp_path)[0]


@pytest.fixture
def slot(registry):
    return ModelSlot(registry.load(version_name(TINY_LINE, 0)), ScorerSettings())


def publish(registry, number, **changes):
    """Publish a version with another head and return its release."""
    bundle = dataclasses.replace(registry.load(version_name(TINY_LINE, 0)), version=version_name(TINY_LINE, number))
    with torch.no_grad():
        bundle.model.head.bias += number
    digest = registry.publish(bundle, created_ms=number, parent=version_name(TINY_LINE, 0))
    release = {"alias": "champion", "version": bundle.version, "digest": digest, "location": "", "reason": "promoted"}
    return ModelRelease(**(release | {"created_ms": number} | changes))


def rewrite_trained(registry, release, change):
    """Change tensors of a published version and make its manifest and release agree with it."""
    other = dataclasses.replace(registry.load(release.version), version=version_name(TINY_LINE, 999))
    change(other.model)
    registry.publish(other, created_ms=1)
    source, target = registry.path(other.version), registry.path(release.version)
    published, manifest = registry.manifest(release.version), registry.manifest(other.version)
    (target / TRAINED).write_bytes((source / TRAINED).read_bytes())
    text = (target / MANIFEST).read_text().replace(published.files[TRAINED], manifest.files[TRAINED])
    (target / MANIFEST).write_text(text)
    return ModelRelease(**{**as_arguments(release), "digest": registry.digest(release.version)})


def as_arguments(release):
    return {name: getattr(release, name) for name in ("alias", "version", "location", "reason", "created_ms")}


def refused(slot, release, registry):
    """Return why a release is refused, having checked that it changed nothing."""
    before = slot.engine.score(IMPRESSIONS)
    with pytest.raises(SwapError) as refusal:
        slot.prepare(release, registry)
    after = slot.engine.score(IMPRESSIONS)
    assert after.version == before.version
    np.testing.assert_array_equal(after.z, before.z)
    assert refusal.value.reason in SWAP_RESULTS
    return refusal.value.reason, str(refusal.value)


def test_a_release_serves_after_the_switch_and_not_before(registry, slot):
    release = publish(registry, 1)
    staged = slot.prepare(release, registry)
    assert slot.engine.version == version_name(TINY_LINE, 0)
    slot.switch(staged)
    expected = Engine(registry.load(release.version), ScorerSettings()).score(IMPRESSIONS)
    found = slot.engine.score(IMPRESSIONS)
    assert found.version == slot.engine.version == release.version
    np.testing.assert_array_equal(found.z, expected.z)


def test_a_version_of_another_line_of_the_same_shape_serves_in_its_own_precision(registry, slot):
    other = dataclasses.replace(registry.load(slot.engine.version), version="ffffffff-000003", precision="bf16")
    digest = registry.publish(other, created_ms=2)
    release = ModelRelease(
        alias="champion", version=other.version, digest=digest, location="", reason="rolled_back", created_ms=2
    )
    before = slot.engine.version
    slot.switch(slot.prepare(release, registry))
    assert (slot.engine.version, slot.engine.bundle.precision) == ("ffffffff-000003", "bf16")
    slot.switch(slot.previous)
    assert (slot.engine.version, slot.engine.bundle.precision) == (before, "fp32")


def test_the_switch_keeps_the_addresses_of_the_live_tensors(registry, slot):
    addresses = {name: tensor.data_ptr() for name, tensor in slot.engine.bundle.model.state_dict().items()}
    slot.switch(slot.prepare(publish(registry, 1), registry))
    assert addresses == {name: tensor.data_ptr() for name, tensor in slot.engine.bundle.model.state_dict().items()}


def test_the_previous_version_can_be_switched_back_at_once(registry, slot):
    before = slot.engine.score(IMPRESSIONS)
    slot.switch(slot.prepare(publish(registry, 1), registry))
    slot.switch(slot.previous)
    after = slot.engine.score(IMPRESSIONS)
    assert after.version == before.version
    np.testing.assert_array_equal(after.z, before.z)
    assert slot.previous.bundle.version == version_name(TINY_LINE, 1)


def test_a_rollback_needs_no_registry(registry, slot, tmp_path):
    first = publish(registry, 1)
    slot.switch(slot.prepare(first, registry))
    slot.switch(slot.prepare(publish(registry, 2), registry))
    registry.path(first.version).rename(tmp_path / "gone")
    slot.switch(slot.prepare(first, registry))
    assert slot.engine.version == first.version


def test_switching_to_the_live_version_is_no_change(registry, slot):
    staged = slot.prepare(publish(registry, 1), registry)
    slot.switch(staged)
    slot.switch(staged)
    assert slot.engine.version == version_name(TINY_LINE, 1)
    assert slot.previous.bundle.version == version_name(TINY_LINE, 0)


def test_another_version_that_shares_tensors_is_untouched_by_a_switch(registry, slot):
    frozen = Engine(registry.load(version_name(TINY_LINE, 0), sharing=slot.engine.bundle), ScorerSettings())
    before = frozen.score(IMPRESSIONS).z
    slot.switch(slot.prepare(publish(registry, 1), registry))
    np.testing.assert_array_equal(frozen.score(IMPRESSIONS).z, before)


def test_a_release_with_another_digest_is_refused(registry, slot):
    reason, message = refused(slot, publish(registry, 1, digest="0" * 64), registry)
    assert reason == "digest"
    assert "is this process looking at the registry" in message


def test_a_release_of_a_version_that_is_not_there_is_refused(registry, slot):
    reason, _ = refused(slot, publish(registry, 1, version=version_name(TINY_LINE, 9)), registry)
    assert reason == "unreadable"


def test_a_changed_file_is_refused(registry, slot):
    release = publish(registry, 1)
    (registry.path(release.version) / TRAINED).write_bytes(b"x")
    reason, message = refused(slot, release, registry)
    assert reason == "unreadable"
    assert "trained.safetensors: sha256" in message


def test_weights_that_are_not_finite_are_refused(registry, slot):
    def spoil(model):
        model.position_logit.weight.data[20] = torch.inf  # a position the golden query does not ask for

    reason, message = refused(slot, rewrite_trained(registry, publish(registry, 1), spoil), registry)
    assert reason == "not_finite"
    assert "tensor position_logit.weight" in message


def test_other_answers_to_the_golden_query_are_refused(registry, slot):
    def shift(model):
        model.head.bias.data += 5.0

    reason, message = refused(slot, rewrite_trained(registry, publish(registry, 1), shift), registry)
    assert reason == "golden"
    assert "golden input 0 has logit" in message


@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        ({"trained_layers": 2}, "config.json, frozen.safetensors"),
        ({"numeric": ("price",)}, "config.json, features"),
        ({"seed": 1}, "frozen.safetensors"),
    ],
)
def test_a_version_of_another_make_is_refused_with_the_remedy(registry, slot, tmp_path, changes, difference):
    other = tiny_bundle(tmp_path / "other", number=5, **changes)
    digest = registry.publish(other, created_ms=5)
    reason, message = refused(slot, publish(registry, 1, version=other.version, digest=digest), registry)
    assert reason == "incompatible"
    assert f"in {difference}: it belongs to another model line; restart this process" in message


def test_the_slot_needs_only_the_tensors_that_learn(registry, slot):
    release = publish(registry, 1)
    (registry.path(release.version) / FROZEN).unlink()
    slot.switch(slot.prepare(release, registry))
    assert slot.engine.version == release.version


def test_every_score_is_by_the_one_version_it_names_under_concurrent_switches(registry, slot):
    releases = [publish(registry, number) for number in (1, 2, 3)]
    staged = [slot.prepare(release, registry) for release in releases]
    expected = {
        release.version: Engine(registry.load(release.version), ScorerSettings()).score(IMPRESSIONS).z
        for release in releases
    }
    slot.switch(staged[0])
    stop = threading.Event()

    def switch_forever():
        turn = 0
        while not stop.is_set():
            turn += 1
            slot.switch(staged[turn % 3])

    switcher = threading.Thread(target=switch_forever)
    switcher.start()
    try:
        batches = []
        while len(batches) < 50 or len({batch.version for batch in batches}) < 3:
            batches.append(slot.engine.score(IMPRESSIONS))
    finally:
        stop.set()
        switcher.join()
    for batch in batches:
        np.testing.assert_array_equal(batch.z, expected[batch.version])
