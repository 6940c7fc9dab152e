import math

import msgspec
import numpy as np
import pytest
import torch

from stream.events import RoleScore
from tests.doubles import tiny_labeled
from tests.trainer.rig import START_MS, Rig, example, recorded_log
from trainer.line import ModelLine, weights_of
from trainer.plans.example_record import ExampleRecord
from trainer.plans.plan_rows import is_selected
from trainer.plans.planner import cut_plan
from trainer.settings import GateSettings, TrainerSettings
from trainer.state.line_state import Knowledge
from trainer.state.sound_version import load_anchor


@pytest.fixture
def rig(tmp_path):
    return Rig(tmp_path, recorded_log(300))


@pytest.fixture
def line(rig):
    return rig.trainer.line


def record_of(*examples, offset=0):
    return ExampleRecord(0, offset, START_MS, tuple(examples))


def plan_of(line, records):
    return cut_plan(line.state.update + 1, line.state.offsets, records, line=line.state.line, seed=0)


def learn(line, records):
    rows = line.admit(records)
    return rows, line.learn(rows, plan_of(line, records))


def test_the_choice_of_rows_follows_from_the_log_alone():
    chosen = [is_selected(example(index)) for index in range(2000)]
    assert chosen == [is_selected(example(index)) for index in range(2000)]
    assert np.mean(chosen) == pytest.approx(0.5, abs=0.04)


def test_a_row_of_probability_one_is_always_chosen_and_of_zero_never():
    assert all(is_selected(example(index, inclusion_probability=1.0)) for index in range(100))
    assert not any(is_selected(example(index, inclusion_probability=0.0)) for index in range(100))


def test_a_repeat_is_told_from_a_first_copy(line):
    rows = line.admit([record_of(example(1), example(2)), record_of(example(1), offset=1)])
    assert [len(rows.first_copies), len(rows.repeats), len(rows.late)] == [2, 1, 0]


def test_a_row_beyond_the_horizon_is_late(line):
    old = tiny_labeled(4, event_time_ms=START_MS - 10_000_000)
    late = example(4, labeled=msgspec.structs.replace(old, source_offset=99))
    rows = line.admit([record_of(example(2), late)])
    assert rows.late == [late]


def test_every_row_of_a_plan_has_one_ledger_row(line):
    always = [example(index, inclusion_probability=float(index % 2)) for index in range(10)]
    _, report = learn(line, [record_of(*always, always[0])])
    outcomes = [row.outcome for row in report.ledger]
    assert [outcomes.count(name) for name in ("trained", "sampled_out", "repeat")] == [5, 5, 1]
    assert all((row.weight > 0) == (row.outcome == "trained") for row in report.ledger)


@pytest.mark.parametrize(
    "broken", [{"importance_weight": math.nan}, {"importance_weight": -0.5}, {"logit_offset": math.inf}]
)
def test_a_row_without_a_usable_weight_teaches_nothing(line, broken):
    rows = [example(index, inclusion_probability=1.0) for index in range(8)]
    rows[3] = example(3, inclusion_probability=1.0, **broken)
    _, report = learn(line, [record_of(*rows)])
    assert report.num_unusable == 1
    assert len(report.weights) == 7
    assert [row.weight for row in report.ledger if row.impression_id == "impression-3"] == [0.0]


def test_learning_advances_offsets_number_and_row_count(line):
    records = [record_of(*(example(index, inclusion_probability=1.0) for index in range(8)), offset=4)]
    learn(line, records)
    state = line.state
    assert (state.update, state.number, state.offsets[0], state.rows_since_champion) == (1, 2, 5, 8)


def test_every_row_judges_selected_or_not(tmp_path):
    line = Rig(tmp_path, recorded_log(300), gate=GateSettings(min_clicks=2)).trainer.line
    rows = line.admit([record_of(*(example(index, inclusion_probability=0.0) for index in range(40)))])
    assert rows.selected == []
    assert line.judge(rows, START_MS).num_rows == 40


def test_rows_are_judged_before_they_are_learned(line):
    rows = line.admit([record_of(*(example(index, inclusion_probability=1.0) for index in range(200)))])
    line.judge(rows, START_MS)
    before = line.evidence.pooled.z_candidate.copy()
    line.forget_evidence()
    line.learn(rows, plan_of(line, [record_of(*rows.first_copies)]))
    line.judge(rows, START_MS)
    assert not np.allclose(before, line.evidence.pooled.z_candidate)


def test_a_row_without_a_finite_live_score_does_not_judge(line):
    rows = line.admit([record_of(example(1), example(2, live=RoleScore(version="x", z=math.nan)))])
    line.judge(rows, START_MS)
    assert line.evidence.pooled.num_rows == 1


def test_replayed_rows_are_marked_and_never_judge(tmp_path):
    settings = TrainerSettings(batch_rows=8, replay_share=0.5, update_rows=64)
    line = Rig(tmp_path, recorded_log(300), settings=settings).trainer.line
    sure = [example(index, inclusion_probability=1.0) for index in range(20)]
    learn(line, [record_of(*sure[:10])])
    rows = line.admit([record_of(*sure[10:], offset=1)])
    line.judge(rows, START_MS)
    report = line.learn(rows, plan_of(line, [record_of(*sure[10:], offset=1)]))
    assert line.evidence.pooled.num_rows == 10
    assert [row.outcome for row in report.ledger].count("replayed") == 10
    assert line.state.rows_since_champion == 30


def test_weights_that_are_not_finite_are_held(line):
    with torch.no_grad():
        next(iter(line.candidate().model.trainable_parameters().values())).fill_(math.nan)
    rows = line.admit([record_of(*(example(index) for index in range(20)))])
    result = line.judge(rows, START_MS)
    assert (result.decision, result.reason) == ("hold", "non_finite")


def test_a_line_goes_on_from_its_checkpoint_as_if_nothing_had_happened(tmp_path):
    settings = TrainerSettings(batch_rows=8, replay_share=0.3, update_rows=64)
    rig = Rig(tmp_path, recorded_log(300), settings=settings, numeric=("price",))
    line = rig.trainer.line
    batches = [
        [record_of(*(example(k, inclusion_probability=1.0) for k in range(n * 16, n * 16 + 16)), offset=n)]
        for n in range(3)
    ]
    learn(line, batches[0])
    line.judge(line.admit(batches[1]), START_MS)
    saved = line.checkpoint()
    copied = {name: tensor.clone() for name, tensor in saved.tensors.items()}
    resumed = ModelLine(
        bundle := rig.registry.load(line.state.lineage),
        with_tensors(saved, copied),
        settings,
        rig.gate,
        load_anchor(rig.registry, bundle),
    )
    for one in (line, resumed):
        learn(one, batches[2])
    ends = [one.checkpoint() for one in (line, resumed)]
    assert ends[0].state == ends[1].state
    assert ends[0].replay == ends[1].replay
    assert all(torch.equal(ends[0].tensors[name], ends[1].tensors[name]) for name in ends[0].tensors)


def with_tensors(saved, tensors):
    return type(saved)(saved.state, tensors, saved.replay)


def test_going_back_restores_weights_and_counts_what_was_learned_since(rig, line):
    published = rig.registry.load(line.state.champion)
    learn(line, [record_of(*(example(index, inclusion_probability=1.0) for index in range(16)))])
    discarded = line.restore_weights(line.state.champion, Knowledge(), weights_of(published), published.statistics)
    assert discarded == line.state.discarded_rows == 16
    assert line.state.rows_since_champion == 0
    restored = line.candidate().model.trainable_parameters()
    assert all(torch.equal(restored[n], t) for n, t in published.model.trainable_parameters().items())


def test_statistics_learn_from_every_first_copy_of_a_plan(tmp_path):
    line = Rig(tmp_path, recorded_log(300), numeric=("price",)).trainer.line
    rows = [
        example(k, inclusion_probability=0.0, labeled=tiny_labeled(k, numeric={"price": float(k)})) for k in range(10)
    ]
    learn(line, [record_of(*rows, rows[0])])
    assert line.candidate().statistics.to_json()["price"]["count"] == 10


def test_a_row_that_cannot_be_a_model_input_fails_alone(line):
    encode = line._bundle.featurizer.encode

    def choosy(impressions):
        if any(impression.impression_id == "impression-3" for impression in impressions):
            raise ValueError
        return encode(impressions)

    line._bundle.featurizer.encode = choosy
    rows, report = learn(line, [record_of(*(example(index, inclusion_probability=1.0) for index in range(8)))])
    assert [one.labeled.impression.impression_id for one in rows.failed] == ["impression-3"]
    outcomes = {row.impression_id: row.outcome for row in report.ledger}
    assert outcomes.pop("impression-3") == "failed"
    assert set(outcomes.values()) == {"trained"}
    assert len(outcomes) == 7


def test_a_row_that_teaches_nothing_has_failed(line):
    rows = [example(index, inclusion_probability=1.0) for index in range(4)]
    rows[3] = example(3, inclusion_probability=1.0, importance_weight=math.nan)
    _, report = learn(line, [record_of(*rows)])
    assert [row.outcome for row in report.ledger] == ["trained"] * 3 + ["failed"]
