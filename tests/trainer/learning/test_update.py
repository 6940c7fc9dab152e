import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.doubles import TinyModel, tiny_bundle, tiny_labeled
from trainer.learning.update import Learner, LearningRow, learning_rate_factor, shuffled_batches
from trainer.settings import TrainerSettings

SETTINGS = TrainerSettings(batch_rows=8, warmup_steps=0)


@pytest.fixture
def bundle(tmp_path):
    return tiny_bundle(tmp_path)


def learning_rows(bundle, num_rows=40, weight=1.0, offset=0.0):
    labeled = [tiny_labeled(index) for index in range(num_rows)]
    encoded = bundle.featurizer.encode([one.impression for one in labeled])
    return [LearningRow(row, one.label, weight, offset) for row, one in zip(encoded, labeled, strict=True)]


def weights(model):
    return {name: parameter.detach().clone() for name, parameter in model.trainable_parameters().items()}


def equal(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


def test_learning_lowers_the_loss(bundle):
    fast = TrainerSettings(batch_rows=8, warmup_steps=0, encoder_learning_rate=1e-2, head_learning_rate=3e-2)
    learner = Learner(bundle.model, fast, "fp32")
    rows = learning_rows(bundle)
    losses = [learner.learn(rows, bundle.statistics, seed).mean_loss for seed in range(20)]
    assert losses[-1] < 0.5 * losses[0]


def test_the_same_seed_gives_the_same_weights(tmp_path):
    results = []
    for _ in range(2):
        bundle = tiny_bundle(tmp_path)
        Learner(bundle.model, SETTINGS, "fp32").learn(learning_rows(bundle), bundle.statistics, 7)
        results.append(weights(bundle.model))
    assert equal(*results)


def test_only_what_the_line_trains_changes(tmp_path):
    bundle = tiny_bundle(tmp_path, trained="head")
    before = {name: tensor.clone() for name, tensor in bundle.model.state_dict().items()}
    Learner(bundle.model, SETTINGS, "fp32").learn(learning_rows(bundle), bundle.statistics, 7)
    changed = {name for name, tensor in bundle.model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed
    assert all(name.startswith(("head.", "position_logit.")) for name in changed)


@pytest.mark.parametrize("trained", ["last_k", "full", "head"])
def test_every_mode_learns(tmp_path, trained):
    bundle = tiny_bundle(tmp_path, trained=trained)
    report = Learner(bundle.model, SETTINGS, "fp32").learn(learning_rows(bundle), bundle.statistics, 7)
    assert report.num_steps == 5


def test_the_model_is_left_ready_to_score(bundle):
    Learner(bundle.model, SETTINGS, "fp32").learn(learning_rows(bundle), bundle.statistics, 7)
    assert not bundle.model.training


def test_a_loss_that_is_not_finite_never_reaches_the_optimizer(bundle):
    before = weights(bundle.model)
    learner = Learner(bundle.model, SETTINGS, "fp32")
    report = learner.learn(learning_rows(bundle, weight=math.inf), bundle.statistics, 7)
    assert (report.num_steps, report.num_refused_losses, len(report.refused)) == (0, 5, 40)
    assert math.isnan(report.mean_loss)
    assert equal(before, weights(bundle.model))
    assert learner.num_steps == 0


def test_a_gradient_that_is_not_finite_never_reaches_the_optimizer(bundle):
    before = weights(bundle.model)
    # The loss is finite in float32, the sum of squared gradients is not.
    rows = learning_rows(bundle, weight=1e30)
    report = Learner(bundle.model, SETTINGS, "fp32").learn(rows, bundle.statistics, 7)
    assert (report.num_steps, report.num_refused_gradients) == (0, 5)
    assert equal(before, weights(bundle.model))


def test_only_the_batch_that_is_not_finite_is_refused(bundle):
    rows = learning_rows(bundle)
    rows[3] = LearningRow(rows[3].encoded, 1, math.nan, 0.0)
    report = Learner(bundle.model, SETTINGS, "fp32").learn(rows, bundle.statistics, 7)
    assert report.num_steps == 4
    assert 3 in report.refused
    assert len(report.refused) == 8


def test_gradients_are_clipped(bundle):
    small = TrainerSettings(batch_rows=8, warmup_steps=0, max_gradient_norm=1e-12, weight_decay=0.0)
    learner = Learner(bundle.model, small, "fp32")
    before = weights(bundle.model)
    learner.learn(learning_rows(bundle, 8, weight=1000.0), bundle.statistics, 7)
    step = max(float((weights(bundle.model)[name] - before[name]).abs().max()) for name in before)
    assert step < 1e-6  # AdamW divides by sqrt(v) + eps: a gradient far below eps barely moves


def test_a_restored_learner_goes_on_exactly(tmp_path):
    one = tiny_bundle(tmp_path)
    rows = learning_rows(one)
    learner = Learner(one.model, SETTINGS, "fp32")
    learner.learn(rows, one.statistics, 1)
    saved = {name: tensor.clone() for name, tensor in learner.tensors().items()}
    other = tiny_bundle(tmp_path)
    restored = Learner(other.model, SETTINGS, "fp32", num_steps=learner.num_steps)
    restored.restore(saved)
    learner.learn(rows, one.statistics, 2)
    restored.learn(rows, other.statistics, 2)
    assert equal(weights(one.model), weights(other.model))


def test_weights_of_another_model_are_refused(bundle, tmp_path):
    other = Learner(TinyModel(trained="head"), SETTINGS, "fp32")
    with pytest.raises(ValueError, match="another model"):
        Learner(bundle.model, SETTINGS, "fp32").restore(other.tensors())


def test_matrices_decay_and_biases_do_not(bundle):
    settings = TrainerSettings(batch_rows=8, warmup_steps=0, weight_decay=0.5)
    with torch.no_grad():
        bundle.model.head.bias.fill_(2.0)
    before = weights(bundle.model)
    Learner(bundle.model, settings, "fp32").learn(learning_rows(bundle, 8, weight=0.0), bundle.statistics, 7)
    after = weights(bundle.model)
    assert torch.allclose(after["head.weight"], before["head.weight"] * (1 - 3e-3 * 0.5))
    assert torch.equal(after["head.bias"], before["head.bias"])


def test_an_update_without_rows_does_nothing(bundle):
    report = Learner(bundle.model, SETTINGS, "fp32").learn([], bundle.statistics, 7)
    assert report.num_steps == 0


def test_the_warm_up_rises_once_and_the_rate_stays():
    settings = TrainerSettings(warmup_steps=4)
    assert [learning_rate_factor(step, settings) for step in range(6)] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0, 1.0])
    assert learning_rate_factor(10**6, settings) == 1.0


def test_inverse_sqrt_falls_from_the_end_of_the_warm_up():
    settings = TrainerSettings(warmup_steps=4, schedule="inverse_sqrt")
    assert learning_rate_factor(4, settings) == 1.0
    assert learning_rate_factor(16, settings) == pytest.approx(0.5)


@given(st.lists(st.integers(3, 60), max_size=300), st.integers(1, 40), st.integers(0, 2**40))
def test_every_row_is_in_exactly_one_batch(lengths, batch_rows, seed):
    batches = shuffled_batches(lengths, batch_rows, seed)
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))


@given(st.integers(20, 300), st.integers(2, 40))
def test_no_batch_is_a_small_rest(num_rows, batch_rows):
    sizes = [len(batch) for batch in shuffled_batches([5] * num_rows, batch_rows, 0)]
    assert max(sizes) - min(sizes) <= 2
    assert max(sizes) <= 1.5 * batch_rows + 1


def test_batches_hold_rows_of_similar_length():
    lengths = np.random.default_rng(0).integers(5, 60, size=512).tolist()
    batches = shuffled_batches(lengths, 32, 0)
    padded = sum(len(batch) * max(lengths[index] for index in batch) for batch in batches)
    assert padded < 1.15 * sum(lengths)
