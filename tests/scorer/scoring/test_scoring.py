from dataclasses import replace

import numpy as np
import pytest
import torch

from scorer.engine.engine import Engine
from scorer.importance.strategies import STRATEGIES, build_strategy
from scorer.importance.strategy import ScoredRows
from scorer.live.roles import Roles
from scorer.registry.version_store import version_name
from scorer.scoring.scoring import Scoring
from scorer.settings import ScorerSettings
from stream.example_batch import decode_examples, encode_examples
from stream.hashing import hash01
from tests.doubles import TINY_LINE, ManualClock, tiny_bundle, tiny_labeled

ROWS = [tiny_labeled(index) for index in range(200)]
CLOCK = ManualClock()


@pytest.fixture(scope="module")
def live(tmp_path_factory):
    return Engine(tiny_bundle(tmp_path_factory.mktemp("live"), number=3, seed=1), ScorerSettings())


@pytest.fixture(scope="module")
def frozen(tmp_path_factory):
    return Engine(tiny_bundle(tmp_path_factory.mktemp("frozen"), number=1), ScorerSettings())


def score(live, rows=ROWS, strategy="gradnorm_is", *, frozen_share=1.0, **others):
    return Scoring(Roles(live, **others), build_strategy(strategy, 0.5), frozen_share=frozen_share).score(rows, CLOCK)


def test_every_labeled_impression_becomes_one_example_in_order(live):
    examples = score(live)
    assert [example.labeled for example in examples] == ROWS
    assert {example.scored_ms for example in examples} == {CLOCK.now_ms}


def test_an_example_carries_the_live_score_and_its_version(live):
    scored = live.score([row.impression for row in ROWS])
    examples = score(live)
    assert [example.live.z for example in examples] == scored.z.tolist()
    assert [example.hidden_norm for example in examples] == scored.hidden_norm.tolist()
    assert {example.live.version for example in examples} == {version_name(TINY_LINE, 3)}


def test_an_example_carries_what_the_strategy_decided(live):
    scored = live.score([row.impression for row in ROWS])
    label = np.array([row.label for row in ROWS], dtype=float)
    expected = build_strategy("gradnorm_is", 0.5).weigh(ScoredRows(scored.z, label, scored.hidden_norm))
    examples = score(live)
    assert [example.inclusion_probability for example in examples] == expected.inclusion_probability.tolist()
    assert [example.importance_weight for example in examples] == expected.importance_weight.tolist()
    assert {(example.strategy, example.mean_score) for example in examples} == {("gradnorm_is", expected.mean_score)}


def test_the_frozen_version_scores_its_share_chosen_by_id(live, frozen):
    examples = score(live, frozen=frozen, frozen_share=0.25)
    chosen = {example.labeled.impression.impression_id for example in examples if example.frozen}
    assert chosen == {
        row.impression.impression_id for row in ROWS if hash01(row.impression.impression_id, "frozen") < 0.25
    }
    assert {example.frozen.version for example in examples if example.frozen} == {version_name(TINY_LINE, 1)}


def test_roles_score_the_same_rows_with_their_own_weights(live, frozen):
    examples = score(live, frozen=frozen, control=live, frozen_share=0.5)
    assert all((example.frozen is None) == (example.control is None) for example in examples)
    both = [example for example in examples if example.frozen]
    np.testing.assert_allclose([example.control.z for example in both], [example.live.z for example in both], atol=1e-5)
    assert any(abs(example.frozen.z - example.live.z) > 0.01 for example in both)


def test_without_a_share_nothing_else_scores(live, frozen):
    assert not any(example.frozen for example in score(live, frozen=frozen, frozen_share=0.0))


def test_examples_survive_the_wire(live, frozen):
    examples = score(live, frozen=frozen, frozen_share=0.5)
    assert [example for raw in encode_examples(examples) for example in decode_examples(raw)] == examples


def test_the_label_never_reaches_the_score(live):
    flipped = [tiny_labeled(index, label=1 - row.label) for index, row in enumerate(ROWS)]
    assert [example.live for example in score(live, flipped)] == [example.live for example in score(live)]


def test_a_score_that_is_not_finite_is_refused_before_anything_is_weighed(live, tmp_path):
    bundle = tiny_bundle(tmp_path)
    bundle.model.head.bias.data.fill_(torch.nan)
    strategy = build_strategy("gradnorm_is", 0.5)
    with pytest.raises(FloatingPointError, match="roll back"):
        Scoring(Roles(Engine(bundle, ScorerSettings())), strategy).score(ROWS, CLOCK)
    assert Scoring(Roles(live), strategy).score(ROWS, CLOCK) == score(live)


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_strategy_that_remembers_examples_goes_on_like_the_one_that_made_them(live, frozen, name):
    clock = ManualClock()
    first, second = (Scoring(Roles(live, frozen), build_strategy(name, 0.5), frozen_share=0.5) for _ in range(2))
    made = []
    for start in range(0, 150, 50):
        clock.advance(1)
        made += first.score(ROWS[start : start + 50], clock)
    second.remember([example for raw in encode_examples(made) for example in decode_examples(raw)])
    assert second.score(ROWS[150:], clock) == first.score(ROWS[150:], clock)


def test_tokens_and_unknown_tokens_are_counted(live):
    scoring = Scoring(Roles(live), build_strategy("full", 1.0))
    scoring.score([tiny_labeled(query="日本", item_text="red hat", history=())], CLOCK)
    assert (scoring.num_tokens, scoring.num_unknown) == (7, 2)


def test_only_the_strategy_sees_the_averaged_logit(tmp_path):
    engine = Engine(tiny_bundle(tmp_path), ScorerSettings(averaged_heads=2))
    bias = engine.bundle.model.head.bias
    engine.replace(replace(engine.bundle, version=version_name(TINY_LINE, 1)), {"head.bias": bias + 4.0})
    examples = score(engine, frozen_share=0.0)
    scored = engine.score([row.impression for row in ROWS])
    np.testing.assert_allclose(scored.averaged_z, scored.z - 2.0, atol=1e-5)
    assert [example.live.z for example in examples] == scored.z.tolist()
    label = np.array([row.label for row in ROWS], dtype=float)
    seen = build_strategy("gradnorm_is", 0.5).weigh(ScoredRows(scored.averaged_z, label, scored.hidden_norm))
    assert [example.inclusion_probability for example in examples] == seen.inclusion_probability.tolist()


def test_the_frozen_scores_are_the_strategy_s_reference_where_there_are_any(live, frozen):
    examples = score(live, strategy="rho_ref", frozen=frozen, frozen_share=0.5)
    assert {example.importance_weight for example in examples if not example.frozen} == {1.0}
    assert all(example.importance_weight != 1.0 for example in examples if example.frozen)
    assert {example.importance_weight for example in score(live, strategy="rho_ref")} == {1.0}
