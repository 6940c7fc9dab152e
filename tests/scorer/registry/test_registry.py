import dataclasses
import itertools
import os
import shutil

import msgspec
import numpy as np
import pytest
import torch

from scorer.engine.engine import Engine
from scorer.engine.golden import golden_z
from scorer.registry.manifest import sha256_of
from scorer.registry.registry import LEFTOVER_SECONDS, ModelRegistry
from scorer.registry.version_files import FROZEN, STATISTICS, TRAINED, write_json
from scorer.registry.version_store import ALIASES, MANIFEST, RegistryError, parse_version, version_name
from scorer.settings import ScorerSettings
from stream.disk.durable_files import StorageError
from stream.events import GateResult
from tests.doubles import TINY_LINE, tiny_bundle, tiny_impression, tiny_registry
from tests.full_disk import no_file_larger_than

IMPRESSIONS = [tiny_impression(index, numeric={"price": float(index)}) for index in range(20)]


@pytest.fixture
def registry(tmp_path):
    return tiny_registry(tmp_path)[0]


def publish_next(registry, parent, number, **arguments):
    """Publish a version of the line with another head."""
    bundle = dataclasses.replace(registry.load(parent), version=version_name(TINY_LINE, number))
    with torch.no_grad():
        bundle.model.head.bias += number
    registry.publish(bundle, parent=parent, **({"created_ms": number + 1} | arguments))
    return bundle.version


def test_a_loaded_version_scores_exactly_as_the_published_one(tmp_path):
    registry = ModelRegistry(tmp_path / "registry")
    bundle = tiny_bundle(tmp_path / "tokenizer", numeric=("price",))
    bundle.statistics.update(bundle.featurizer.encode(IMPRESSIONS))
    registry.publish(bundle, created_ms=1)
    expected, found = (
        Engine(version, ScorerSettings()).score(IMPRESSIONS) for version in (bundle, registry.load(bundle.version))
    )
    np.testing.assert_array_equal(found.z, expected.z)
    np.testing.assert_array_equal(found.hidden_norm, expected.hidden_norm)


NUMERIC = [{"rating": 1.0 + index % 5, "price": 10.0 * index, "age": 0.1 * index} for index in range(20)]
MANY = [tiny_impression(index, numeric=NUMERIC[index]) for index in range(20)]


def publish_many(tmp_path, names):
    """Publish a version that has learned several numeric features, as the present release does."""
    registry = ModelRegistry(tmp_path / "registry")
    bundle = tiny_bundle(tmp_path / "tokenizer", numeric=names)
    bundle.statistics.update(bundle.featurizer.encode(MANY))
    registry.publish(bundle, created_ms=1)
    return registry, bundle


def rewrite_statistics(registry, version, sums):
    """Put statistics in place as the first releases wrote them: sorted by name."""
    write_json(registry.path(version) / STATISTICS, sums)
    manifest = registry.manifest(version)
    files = manifest.files | {STATISTICS: sha256_of(registry.path(version) / STATISTICS)}
    write_json(registry.path(version) / MANIFEST, msgspec.structs.replace(manifest, files=files))


@pytest.mark.parametrize("names", list(itertools.permutations(("rating", "price", "age"))))
def test_several_numeric_features_score_as_they_learned_in_whatever_order_they_are_named(tmp_path, names):
    registry, bundle = publish_many(tmp_path, names)
    rows = bundle.featurizer.encode(MANY)
    loaded = registry.load(bundle.version)
    np.testing.assert_array_equal(loaded.statistics.standardise(rows), bundle.statistics.standardise(rows))
    np.testing.assert_array_equal(golden_z(loaded), golden_z(bundle))


@pytest.mark.parametrize("warm_started", [False, True])
def test_statistics_of_the_first_releases_are_read_as_they_were_learned(tmp_path, warm_started):
    registry, bundle = publish_many(tmp_path, ("rating", "price", "age"))
    sums = bundle.statistics.to_json()
    if warm_started:  # kept by position, under the names of a sorted file
        sums = dict(zip(sorted(sums), sums.values(), strict=True))
    rewrite_statistics(registry, bundle.version, sums)
    rows = bundle.featurizer.encode(MANY)
    loaded = registry.load(bundle.version)
    np.testing.assert_array_equal(loaded.statistics.standardise(rows), bundle.statistics.standardise(rows))


def test_a_file_whose_content_is_not_what_it_should_be_is_a_version_that_cannot_be_loaded(registry):
    version = version_name(TINY_LINE, 0)
    for name in (STATISTICS, "config.json", TRAINED):
        path = registry.path(version) / name
        content = path.read_bytes()
        path.write_bytes(b'{"price": 1}')
        with pytest.raises(RegistryError):
            registry.load(version, verify=False)
        path.write_bytes(content)


def test_tensors_that_are_not_those_of_the_architecture_are_a_version_that_cannot_be_loaded(registry):
    path = registry.path(version_name(TINY_LINE, 0)) / "config.json"
    path.write_bytes(path.read_bytes().replace(b'"num_numeric": 0', b'"num_numeric": 3'))
    with pytest.raises(RegistryError, match=r"serve another version"):
        registry.load(version_name(TINY_LINE, 0), verify=False)


def test_a_manifest_that_names_no_files_cannot_be_trusted(registry):
    version = version_name(TINY_LINE, 0)
    write_json(registry.path(version) / MANIFEST, msgspec.structs.replace(registry.manifest(version), files={}))
    (registry.path(version) / TRAINED).write_bytes(b"junk")
    assert len(registry.verify(version)) == 1
    (registry.path(version) / FROZEN).unlink()
    assert len(registry.verify(version)) == 1


def test_a_registry_is_made_by_publishing_and_not_by_looking(tmp_path):
    registry = ModelRegistry(tmp_path / "registry")
    assert (registry.versions(), registry.listed(), registry.alias("champion")) == ([], [], None)
    assert registry.prune(1) == []
    with pytest.raises(RegistryError, match="no registry in"):
        registry.load(version_name(TINY_LINE, 0))
    assert not registry.root.exists()


def test_the_manifest_tells_where_a_version_comes_from(registry):
    gate = GateResult(decision="promote", reason="no evidence of harm")
    version = publish_next(
        registry, version_name(TINY_LINE, 0), 1, plan={"number": 4}, covered_offsets={"0": 17}, gate=gate
    )
    manifest = registry.manifest(version)
    assert (manifest.parent, manifest.line, manifest.number) == (version_name(TINY_LINE, 0), TINY_LINE, 1)
    assert (manifest.plan, manifest.covered_offsets, manifest.gate) == ({"number": 4}, {"0": 17}, gate)
    assert set(manifest.libraries) >= {"torch", "transformers"}


def test_the_digest_is_that_of_the_manifest(registry):
    version = version_name(TINY_LINE, 0)
    bundle = registry.load(version)
    assert registry.digest(version) == sha256_of(registry.path(version) / MANIFEST) == bundle.digest


def test_publishing_the_same_content_again_is_no_change(registry):
    version = version_name(TINY_LINE, 0)
    before = registry.digest(version)
    assert registry.publish(registry.load(version), created_ms=99) == before


def test_publishing_other_content_under_a_name_is_refused(registry):
    bundle = registry.load(version_name(TINY_LINE, 0))
    with torch.no_grad():
        bundle.model.head.bias += 1
    with pytest.raises(RegistryError, match=r"exists with other content \(trained.safetensors\)"):
        registry.publish(bundle, created_ms=2)


def test_a_failed_publish_leaves_nothing_that_looks_like_a_version(registry):
    bundle = dataclasses.replace(registry.load(version_name(TINY_LINE, 0)), version=version_name(TINY_LINE, 1))
    bundle.model.head.weight.data = torch.ones(3, 3)  # the golden query cannot be answered
    with pytest.raises(RuntimeError):
        registry.publish(bundle, created_ms=2)
    assert registry.versions() == [version_name(TINY_LINE, 0)]
    assert list(registry.root.glob(".publishing-*")) == []


def test_a_full_disk_is_told_and_leaves_nothing_that_looks_like_a_version(registry):
    version = version_name(TINY_LINE, 1)
    bundle = dataclasses.replace(registry.load(version_name(TINY_LINE, 0)), version=version, digests={})
    with no_file_larger_than(1_000), pytest.raises(StorageError, match=rf"{version}: [\d,]+ bytes wanted, [\d,]+ free"):
        registry.publish(bundle, created_ms=2)
    assert registry.versions() == [version_name(TINY_LINE, 0)]
    assert list(registry.root.glob(".publishing-*")) == []


def test_versions_are_listed_in_the_order_of_their_line(registry):
    for number in (10, 2):
        publish_next(registry, version_name(TINY_LINE, 0), number)
    assert registry.versions() == [version_name(TINY_LINE, number) for number in (0, 2, 10)]


@pytest.mark.parametrize("version", ["../../etc", "00000000-00000", "0000000g-000001", "", "00000000-000001/.."])
def test_a_name_that_is_no_version_is_no_path(registry, version):
    for use in (registry.path, registry.load, registry.manifest, registry.digest):
        with pytest.raises(RegistryError, match="is not a version"):
            use(version)


def test_a_version_name_is_taken_apart_again():
    assert parse_version(version_name("0123abcd", 42)) == ("0123abcd", 42)


def test_a_version_that_does_not_exist_is_named(registry):
    with pytest.raises(RegistryError, match="00000000-000009 is not in"):
        registry.load("00000000-000009")


def test_a_changed_file_is_not_loaded(registry):
    path = registry.path(version_name(TINY_LINE, 0)) / TRAINED
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(RegistryError, match=r"is not what was published \(trained.safetensors: sha256"):
        registry.load(version_name(TINY_LINE, 0))
    assert len(registry.verify(version_name(TINY_LINE, 0))) == 1


def test_an_unreadable_manifest_is_a_problem_with_a_remedy(registry):
    (registry.path(version_name(TINY_LINE, 0)) / MANIFEST).write_text("{")
    with pytest.raises(RegistryError, match="restore the directory"):
        registry.load(version_name(TINY_LINE, 0))
    assert len(registry.verify(version_name(TINY_LINE, 0))) == 1


def test_weights_that_are_not_finite_are_found(tmp_path):
    registry = ModelRegistry(tmp_path / "registry")
    bundle = tiny_bundle(tmp_path / "tokenizer")
    bundle.model.position_logit.weight.data[20] = torch.nan  # a position the golden query does not ask for
    registry.publish(bundle, created_ms=1)
    (problem,) = registry.verify(bundle.version)
    assert problem == "trained.safetensors: tensor position_logit.weight has values that are not finite"


def test_a_version_that_cannot_answer_the_golden_query_is_not_published(tmp_path):
    registry = ModelRegistry(tmp_path / "registry")
    bundle = tiny_bundle(tmp_path / "tokenizer")
    bundle.model.head.weight.data[0, 0] = torch.nan
    with pytest.raises(RegistryError, match="golden query with nan"):
        registry.publish(bundle, created_ms=1)
    assert registry.versions() == []


def test_a_sound_version_has_no_problems(registry):
    assert registry.verify(version_name(TINY_LINE, 0)) == []


def test_loading_beside_a_live_version_shares_what_does_not_learn(registry):
    live = registry.load(version_name(TINY_LINE, 0))
    other = registry.load(publish_next(registry, live.version, 1), sharing=live)
    trained = live.model.trainable_parameters()
    for name, parameter in live.model.named_parameters():
        shared = other.model.get_parameter(name).data_ptr() == parameter.data_ptr()
        assert shared == (name not in trained)
    assert other.featurizer is live.featurizer
    alone = Engine(registry.load(other.version), ScorerSettings()).score(IMPRESSIONS)
    np.testing.assert_array_equal(Engine(other, ScorerSettings()).score(IMPRESSIONS).z, alone.z)


def test_loading_a_sharing_version_reads_no_frozen_file(registry):
    live = registry.load(version_name(TINY_LINE, 0))
    version = publish_next(registry, live.version, 1)
    (registry.path(version) / FROZEN).unlink()
    assert registry.load(version, sharing=live).version == version


def test_the_next_version_needs_nothing_of_a_pruned_one(registry):
    bundle = registry.load(version_name(TINY_LINE, 0))
    shutil.rmtree(registry.path(bundle.version))
    registry.publish(dataclasses.replace(bundle, version=version_name(TINY_LINE, 1)), created_ms=2)
    assert registry.verify(version_name(TINY_LINE, 1)) == []


def test_an_alias_points_where_it_was_set_last(registry):
    second = publish_next(registry, version_name(TINY_LINE, 0), 1)
    registry.set_alias("champion", second)
    registry.set_alias("previous", version_name(TINY_LINE, 0))
    assert [registry.alias(alias) for alias in ALIASES] == [second, version_name(TINY_LINE, 0), None]


def test_an_alias_points_to_existing_versions_only(registry):
    with pytest.raises(RegistryError):
        registry.set_alias("champion", "00000000-000009")
    with pytest.raises(RegistryError, match="alias 'best' is not one of champion"):
        registry.set_alias("best", version_name(TINY_LINE, 0))


def test_pruning_keeps_the_newest_and_whatever_is_pointed_to(registry):
    versions = [version_name(TINY_LINE, 0)]
    versions += [publish_next(registry, versions[0], number) for number in range(1, 7)]
    registry.set_alias("previous", versions[1])
    assert registry.prune(2, protected=[versions[2]]) == versions[3:5]
    assert registry.versions() == [*versions[:3], *versions[5:]]


def test_pruning_keeps_what_it_cannot_read_and_clears_what_a_crash_left(registry):
    version = publish_next(registry, version_name(TINY_LINE, 0), 1)
    (registry.path(version) / MANIFEST).write_text("{")
    old, young = registry.root / ".publishing-old", registry.root / ".publishing-young"
    old.mkdir()
    young.mkdir()
    long_ago = old.stat().st_mtime - LEFTOVER_SECONDS - 60
    os.utime(old, (long_ago, long_ago))
    assert registry.prune(0) == []
    assert (registry.path(version).exists(), old.exists(), young.exists()) == (True, False, True)


def test_a_stray_directory_of_its_name_does_not_stop_a_publication(registry):
    (registry.root / version_name(TINY_LINE, 1)).mkdir()
    assert registry.verify(publish_next(registry, version_name(TINY_LINE, 0), 1)) == []


def test_a_child_of_a_damaged_parent_is_published_whole(registry):
    parent = version_name(TINY_LINE, 0)
    bundle = dataclasses.replace(registry.load(parent), version=version_name(TINY_LINE, 1), digests={})
    path = registry.path(parent) / FROZEN
    path.write_bytes(b"\xff" * 100)
    registry.publish(bundle, created_ms=2, parent=parent)
    assert registry.verify(bundle.version) == []


def test_nothing_is_pruned_while_an_alias_cannot_be_read(registry):
    parent = version_name(TINY_LINE, 0)
    for number in range(1, 4):
        parent = publish_next(registry, parent, number)
    (registry.root / "aliases" / "frozen").write_bytes(b"\xff")
    assert registry.prune(1) == []
    with pytest.raises(RegistryError, match="frozen cannot be read"):
        registry.alias("frozen")


def test_a_version_that_cannot_be_removed_stops_no_pruning(registry, tmp_path):
    first, second, third = (publish_next(registry, f"{TINY_LINE}-000000", number) for number in (1, 2, 3))
    elsewhere = tmp_path / "elsewhere"
    registry.path(first).rename(elsewhere)
    registry.path(first).symlink_to(elsewhere)
    leftover = registry.root / f".removing-{second}"
    leftover.mkdir()
    (leftover / TRAINED).touch()

    assert second in registry.prune(1)
    assert registry.path(second).exists() is False
    assert {first, third} <= set(registry.versions())
    assert (elsewhere / MANIFEST).is_file()


def test_a_directory_with_the_manifest_of_another_version_is_refused(registry):
    first = publish_next(registry, f"{TINY_LINE}-000000", 1)
    shutil.copytree(registry.path(first), registry.path(f"{TINY_LINE}-000007"))

    (problem,) = registry.verify(f"{TINY_LINE}-000007")
    assert f"is that of '{first}'" in problem
    with pytest.raises(RegistryError, match="keeps its name"):
        registry.load(f"{TINY_LINE}-000007")
