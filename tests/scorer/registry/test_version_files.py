import pytest
import torch
from safetensors.torch import load_file

from scorer.registry.manifest import file_problems
from scorer.registry.version_files import (
    CONFIG,
    FROZEN,
    STATISTICS,
    TRAINED,
    sync_tree,
    write_json,
    write_version_files,
)
from tests.doubles import tiny_bundle


@pytest.fixture
def bundle(tmp_path):
    return tiny_bundle(tmp_path / "tokenizer")


def written(bundle, directory, parent=None):
    directory.mkdir()
    return write_version_files(bundle, directory, parent)


def test_every_tensor_is_in_the_file_of_what_learns_or_of_what_does_not(bundle, tmp_path):
    written(bundle, tmp_path / "v")
    trained, frozen = load_file(tmp_path / "v" / TRAINED), load_file(tmp_path / "v" / FROZEN)
    assert set(trained) == set(bundle.model.trainable_parameters())
    assert set(trained) | set(frozen) == set(bundle.model.state_dict())


def test_the_same_bundle_gives_the_same_bytes(bundle, tmp_path):
    assert written(bundle, tmp_path / "a") == written(bundle, tmp_path / "b")


def test_tensors_that_do_not_learn_are_linked_from_the_parent(bundle, tmp_path):
    first = written(bundle, tmp_path / "a")
    with torch.no_grad():
        bundle.model.head.bias += 1
    second = written(bundle, tmp_path / "b", tmp_path / "a")
    assert (tmp_path / "a" / FROZEN).samefile(tmp_path / "b" / FROZEN)
    assert first[FROZEN] == second[FROZEN]
    assert first[TRAINED] != second[TRAINED]


def test_changed_tensors_are_written_anew(bundle, tmp_path):
    written(bundle, tmp_path / "a")
    with torch.no_grad():
        bundle.model.bert.embeddings.word_embeddings.weight += 1
    written(bundle, tmp_path / "b", tmp_path / "a")
    assert not (tmp_path / "a" / FROZEN).samefile(tmp_path / "b" / FROZEN)


def test_a_parent_that_is_gone_does_not_matter(bundle, tmp_path):
    assert FROZEN in written(bundle, tmp_path / "a", tmp_path / "pruned")


def test_a_line_whose_every_tensor_learns_has_an_empty_frozen_file(tmp_path):
    bundle = tiny_bundle(tmp_path / "tokenizer", trained="full", train_embeddings=True)
    written(bundle, tmp_path / "v")
    assert load_file(tmp_path / "v" / FROZEN) == {}


def test_a_changed_and_a_missing_file_are_named(bundle, tmp_path):
    digests = written(bundle, tmp_path / "v")
    (tmp_path / "v" / CONFIG).write_text("{}")
    (tmp_path / "v" / STATISTICS).unlink()
    config, statistics = file_problems(tmp_path / "v", digests)
    assert config.startswith("config.json: sha256 is ")
    assert statistics == "statistics.json: missing"


def test_json_has_one_form_whatever_the_order_of_its_keys(tmp_path):
    write_json(tmp_path / "a", {"x": 1, "y": 2})
    write_json(tmp_path / "b", {"y": 2, "x": 1})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_syncing_changes_nothing(bundle, tmp_path):
    digests = written(bundle, tmp_path / "v")
    sync_tree(tmp_path / "v")
    assert file_problems(tmp_path / "v", digests) == []
