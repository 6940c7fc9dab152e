import math

import msgspec
import numpy as np
import pytest
import torch
from safetensors.torch import save

from scorer.engine.engine import forward_rows
from tests.doubles import tiny_bundle, tiny_labeled
from tests.trainer.rig import START_MS, Rig, example, recorded_log
from trainer.learning import replay_weights
from trainer.learning.replay_weights import (
    PENALTY,
    RELATIVE_SHARE,
    Replay,
    density_ratio_weights,
    pooled_vectors,
    recency_weights,
    weigh_replayed,
)
from trainer.plans.example_record import ExampleRecord
from trainer.plans.planner import cut_plan
from trainer.settings import TrainerSettings

SETTINGS = TrainerSettings(replay_half_life_seconds=60.0)


@pytest.fixture
def bundle(tmp_path):
    bundle = tiny_bundle(tmp_path)
    bundle.model.eval()
    return bundle


def row(index, *, age_seconds=0.0, **changes):
    event_time_ms = START_MS - round(age_seconds * 1000)
    text = {"item_text": changes.pop("item_text")} if "item_text" in changes else {}
    return example(index, labeled=tiny_labeled(index, event_time_ms=event_time_ms, **text), **changes)


def replay_of(bundle, old, new):
    encoded = bundle.featurizer.encode([one.labeled.impression for one in [*old, *new]])
    return Replay(bundle, old, encoded[: len(old)], new, encoded[len(old) :])


def shown(text, numbers, **changes):
    return [row(index, item_text=text, strategy="density_ratio", **changes) for index in numbers]


def learn(line, offset, examples):
    records = [ExampleRecord(0, offset, START_MS, tuple(examples))]
    plan = cut_plan(offset + 1, line.state.offsets, records, line=line.state.line, seed=0)
    return line.learn(line.admit(records), plan)


def test_a_replayed_row_of_recency_loses_half_its_weight_in_a_half_life(bundle):
    ages = [0.0, 60.0, 120.0, 600.0]
    old = [row(index, age_seconds=age, strategy="recency") for index, age in enumerate(ages)]
    weights = recency_weights(replay_of(bundle, old, [row(9, age_seconds=30.0), row(10)]), SETTINGS)
    assert weights.tolist() == [1.0, 0.5, 0.25, 2.0**-10]


def test_a_row_that_is_newer_than_the_plan_weighs_no_more(bundle):
    old = [row(0, age_seconds=-500.0, strategy="recency")]
    assert recency_weights(replay_of(bundle, old, [row(1)]), SETTINGS).tolist() == [1.0]


def test_the_recorded_strategy_of_a_row_decides(bundle):
    names = ["uniform", "recency", "gradnorm_is", "density_ratio"]
    old = [row(index, age_seconds=60.0, strategy=name, importance_weight=2.0) for index, name in enumerate(names)]
    weighed = weigh_replayed(replay_of(bundle, old, [row(9)]), SETTINGS)
    assert [one.importance_weight for one in weighed[:3]] == [2.0, 1.0, 2.0]
    assert [msgspec.structs.replace(one, importance_weight=2.0) for one in weighed] == old


def test_without_replay_nothing_is_weighed(bundle):
    assert weigh_replayed(replay_of(bundle, [], [row(0)]), SETTINGS) == []


def test_a_row_like_the_new_ones_weighs_more_than_one_that_is_no_longer_shown(bundle):
    old = [*shown("red scarf", range(40)), *shown("blue lamp", range(40, 80))]
    new = shown("red scarf", range(100, 200))
    weights = density_ratio_weights(replay_of(bundle, old, new), SETTINGS)
    assert weights[:40].mean() > 1.0
    assert weights[:40].min() > weights[40:].max()
    assert weights[40:].mean() < 0.4


def test_a_stream_that_did_not_change_weighs_its_old_rows_like_new_ones(bundle):
    old = [row(index, strategy="density_ratio") for index in range(60)]
    new = [row(index) for index in range(60, 360)]
    weights = density_ratio_weights(replay_of(bundle, old, new), SETTINGS)
    assert weights.mean() == pytest.approx(1.0, abs=0.05)
    assert weights.std() < 0.3


def test_no_row_weighs_more_than_the_relative_ratio_allows(bundle):
    old = [*shown("red scarf", range(1)), *shown("blue lamp", range(1, 100))]
    new = shown("red scarf", range(100, 110))
    weights = density_ratio_weights(replay_of(bundle, old, new), SETTINGS)
    assert 2.0 < weights[0] <= 1 / RELATIVE_SHARE


def test_more_dimensions_than_rows_do_not_learn_rows_by_heart():
    random = np.random.default_rng(0)
    vectors = random.normal(size=(400, 768))
    log_odds = replay_weights._log_odds_of_new(vectors, 80) - math.log(320 / 80)
    assert log_odds[:80].std() < 0.15
    assert np.abs(log_odds).max() < 3 / PENALTY


def test_the_classifier_finds_the_true_density_ratio():
    random = np.random.default_rng(1)
    old, new = random.normal(0.0, 1.0, (4000, 1)), random.normal(1.0, 1.0, (8000, 1))
    log_ratio = replay_weights._log_odds_of_new(np.concatenate([old, new]), 4000)[:4000] + math.log(4000 / 8000)
    np.testing.assert_allclose(log_ratio, old[:, 0] - 0.5, atol=0.15)


def test_weights_that_are_not_finite_leave_replayed_rows_as_they_were(bundle):
    bundle.model.bert.embeddings.word_embeddings.weight.data.fill_(torch.nan)
    old = [row(index, strategy="density_ratio") for index in range(4)]
    weights = density_ratio_weights(replay_of(bundle, old, [row(index) for index in range(4, 8)]), SETTINGS)
    np.testing.assert_allclose(weights, 1.0)


def test_pooled_vectors_are_what_the_head_reads(bundle):
    encoded = bundle.featurizer.encode([row(index).labeled.impression for index in range(20)])
    vectors = pooled_vectors(bundle, encoded, 64)
    _, norm = forward_rows(bundle, encoded, max_batch_tokens=2048)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), norm, rtol=1e-5)


def test_the_ledger_and_the_buffer_keep_the_weight_that_was_learned_and_the_one_that_was_given(tmp_path):
    settings = TrainerSettings(batch_rows=8, replay_share=0.5, update_rows=64, replay_half_life_seconds=60.0)
    line = Rig(tmp_path, recorded_log(100), settings=settings).trainer.line
    sure = {"inclusion_probability": 1.0, "strategy": "recency"}
    old = [row(index, age_seconds=60.0, **sure) for index in range(8)]
    new = [row(index, **sure) for index in range(8, 16)]
    reports = [learn(line, offset, examples) for offset, examples in enumerate([old, new])]
    replayed = [one for one in reports[1].ledger if one.outcome == "replayed"]
    assert [one.weight for one in replayed] == [0.5] * 8
    _, kept = line.replay.snapshot()
    assert kept
    assert {one.example.importance_weight for one in line.replay._kept} == {1.0}


@pytest.mark.parametrize("strategy", ["recency", "density_ratio"])
def test_the_same_plans_give_the_same_weights(tmp_path, strategy):
    settings = TrainerSettings(batch_rows=8, replay_share=0.5, update_rows=64, replay_half_life_seconds=60.0)
    digests = []
    for name in ("first", "second"):
        rig = Rig(tmp_path / name, recorded_log(100), settings=settings)
        for offset in range(3):
            numbers = range(offset * 16, offset * 16 + 16)
            new = [row(k, age_seconds=-10.0 * k, inclusion_probability=1.0, strategy=strategy) for k in numbers]
            learn(rig.trainer.line, offset, new)
        digests.append(save({name: tensor.clone() for name, tensor in rig.trainer.line.learner.tensors().items()}))
    assert digests[0] == digests[1]
