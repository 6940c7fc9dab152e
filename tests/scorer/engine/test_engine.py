from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from scorer.engine.engine import Engine, arithmetic, forward_rows
from scorer.model.batch import collate
from scorer.registry.version_store import version_name
from scorer.settings import ScorerSettings
from tests.doubles import TINY_LINE, tiny_bundle, tiny_impression

IMPRESSIONS = [tiny_impression(index) for index in range(50)]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return tiny_bundle(tmp_path_factory.mktemp("tokenizer"))


def test_scores_come_back_in_the_order_of_the_impressions(bundle):
    engine = Engine(bundle, ScorerSettings(max_batch_tokens=64))
    together = engine.score(IMPRESSIONS)
    alone = [engine.score([impression]).z[0] for impression in IMPRESSIONS]
    np.testing.assert_allclose(together.z, alone, atol=1e-5)


@settings(max_examples=20, deadline=None)
@given(order=st.permutations(range(12)), bound=st.integers(1, 200))
def test_neither_order_nor_batch_size_changes_a_score(bundle, order, bound):
    rows = bundle.featurizer.encode([IMPRESSIONS[index] for index in order])
    z, hidden_norm = forward_rows(bundle, rows, max_batch_tokens=bound)
    expected_z, expected_norm = forward_rows(
        bundle, bundle.featurizer.encode(IMPRESSIONS[:12]), max_batch_tokens=10_000
    )
    np.testing.assert_allclose(z, expected_z[order], atol=1e-5)
    np.testing.assert_allclose(hidden_norm, expected_norm[order], rtol=1e-5)


def test_scoring_changes_nothing(bundle):
    before = {name: tensor.clone() for name, tensor in bundle.model.state_dict().items()}
    random_state = torch.get_rng_state()
    engine = Engine(bundle, ScorerSettings())
    first, second = engine.score(IMPRESSIONS), engine.score(IMPRESSIONS)
    np.testing.assert_array_equal(first.z, second.z)
    assert all(torch.equal(before[name], tensor) for name, tensor in bundle.model.state_dict().items())
    assert torch.equal(random_state, torch.get_rng_state())


def test_scorer_and_trainer_see_the_same_logits(bundle):
    rows = bundle.featurizer.encode(IMPRESSIONS)
    z_of_trainer = bundle.model(collate(rows, bundle.statistics)).z_B.detach().double().numpy()
    np.testing.assert_allclose(Engine(bundle, ScorerSettings()).score(IMPRESSIONS).z, z_of_trainer, atol=1e-5)


def test_the_hidden_norm_is_that_of_the_head_input(bundle):
    rows = bundle.featurizer.encode(IMPRESSIONS)
    expected = bundle.model(collate(rows, bundle.statistics)).h_BD.detach().double().norm(dim=1).numpy()
    np.testing.assert_allclose(Engine(bundle, ScorerSettings()).score(IMPRESSIONS).hidden_norm, expected, rtol=1e-5)


def test_a_batch_names_its_version_and_counts_its_tokens(bundle):
    scored = Engine(bundle, ScorerSettings()).score([tiny_impression(query="日本", item_text="red hat", history=())])
    assert (scored.version, scored.num_tokens, scored.num_unknown) == (bundle.version, 7, 2)


def test_no_impressions_give_no_scores(bundle):
    assert len(Engine(bundle, ScorerSettings()).score([]).z) == 0


def test_bf16_is_used_when_asked_for():
    with arithmetic(torch.device("cpu"), "bf16"):
        assert torch.is_autocast_enabled("cpu")
    with arithmetic(torch.device("cpu"), "fp32"):
        assert not torch.is_autocast_enabled("cpu")


def test_replaced_tensors_stay_at_their_address(bundle, tmp_path):
    live = tiny_bundle(tmp_path)
    engine = Engine(live, ScorerSettings())
    weight = live.model.head.weight
    engine.replace(live, {"head.weight": torch.ones_like(weight)})
    assert engine.bundle.model.head.weight is weight
    assert weight.eq(1).all()


def switch(engine, number, **tensors):
    """Switch to a version that differs in the given tensors of the head."""
    state = engine.bundle.model.state_dict()
    changed = {name: torch.full_like(state[name], value) for name, value in tensors.items()}
    engine.replace(replace(engine.bundle, version=version_name(TINY_LINE, number)), changed)


def test_the_averaged_logit_is_the_mean_over_the_last_heads_on_the_same_vectors(tmp_path):
    engine = Engine(tiny_bundle(tmp_path), ScorerSettings(averaged_heads=3))
    scores = [engine.score(IMPRESSIONS).z]
    for number, bias in enumerate((0.5, -2.0), 1):
        switch(engine, number, **{"head.bias": bias})
        scores.append(engine.score(IMPRESSIONS).z)
    scored = engine.score(IMPRESSIONS)
    np.testing.assert_allclose(scored.averaged_z, np.mean(scores, axis=0), atol=1e-5)
    np.testing.assert_array_equal(scored.z, scores[-1])


def test_without_averaging_the_averaged_logit_is_the_live_one(tmp_path):
    engine = Engine(tiny_bundle(tmp_path), ScorerSettings())
    switch(engine, 1, **{"head.bias": 1.0})
    scored = engine.score(IMPRESSIONS)
    np.testing.assert_array_equal(scored.averaged_z, scored.z)
