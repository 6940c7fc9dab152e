import itertools

import pytest
import torch

from scorer.registry.version_store import parse_version
from tests.trainer.backtest.tiny import tiny_arm, tiny_stream
from trainer.backtest.runs.beginning import KnownBeginning, begin


@pytest.fixture
def warm(tmp_path):
    return [row.labeled for row in itertools.islice(tiny_stream(tmp_path).rows(0), 200)]


def weights(checkpoint):
    return {name: tensor.clone() for name, tensor in checkpoint.tensors.items()}


def test_version_one_has_learned_every_row_of_the_warm_start_once(bert, warm, tmp_path):
    done: list[int] = []
    bundle, checkpoint = begin(tiny_arm(bert), warm, tmp_path, progress=done.append)
    assert parse_version(bundle.version)[1] == checkpoint.state.number == 1
    assert checkpoint.state.num_steps == 25
    assert checkpoint.state.champion == bundle.version
    assert done[-1] == 200


def test_a_known_beginning_is_the_same_to_the_bit(bert, warm, tmp_path):
    known = KnownBeginning(tmp_path / "known")
    bundle, first = begin(tiny_arm(bert), warm, tmp_path / "a", known)
    first = weights(first), first.state
    again, second = begin(tiny_arm(bert), [], tmp_path / "b", known)
    assert first[1] == second.state
    assert first[0].keys() == second.tensors.keys()
    assert all(torch.equal(first[0][name], tensor) for name, tensor in second.tensors.items())
    assert again.statistics.to_json() == bundle.statistics.to_json()


def test_statistics_of_numeric_features_are_known_too(bert, warm, tmp_path):
    arm = tiny_arm(bert)
    arm = tiny_arm(bert, model=arm.model.model_copy(update={"numeric": ("price",)}))
    known = KnownBeginning(tmp_path / "known")
    bundle, _ = begin(arm, warm, tmp_path / "a", known)
    assert begin(arm, [], tmp_path / "b", known)[0].statistics.to_json() == bundle.statistics.to_json()


def test_what_the_frozen_version_said_is_kept(tmp_path):
    known = KnownBeginning(tmp_path / "known")
    assert known.frozen() is None
    known.keep_frozen(torch.arange(3, dtype=torch.float64).numpy())
    assert known.frozen().tolist() == [0.0, 1.0, 2.0]


def test_a_warm_start_of_one_class_is_refused(bert, warm, tmp_path):
    with pytest.raises(ValueError, match="a warm start needs both outcomes"):
        begin(tiny_arm(bert), [row for row in warm if row.label == 0], tmp_path)
