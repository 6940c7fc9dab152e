from dataclasses import replace

import numpy as np
import pytest
import torch

from scorer.registry.registry import ModelRegistry, copy_with_shared_tensors
from stream.hashing import hash01
from tests.trainer.backtest.tiny import tiny_arm, tiny_stream
from tests.trainer.rig import Rig
from trainer.backtest.runs.beginning import LINE
from trainer.backtest.runs.run import assemble, run_arm
from trainer.backtest.runs.streams import simulated_stream
from trainer.plans.plan_rows import SELECTION_SALT
from trainer.state.checkpoint import checkpoint_store, set_current_line


@pytest.fixture
def stream(tmp_path):
    return tiny_stream(tmp_path)


def equal(one, other):
    assert one.rounds == other.rounds
    for name, values in vars(one.predictions).items():
        assert np.array_equal(values, getattr(other.predictions, name), equal_nan=True), name


def test_every_row_after_the_warm_start_is_scored_once(bert, stream):
    result = run_arm(tiny_arm(bert), stream, 0)
    assert result.predictions.index.tolist() == list(range(200, 1_200))
    assert [(one.round, one.first_row, one.rows) for one in result.rounds] == [
        (k + 1, 200 + 100 * k, 100) for k in range(10)
    ]
    assert result.is_complete


def test_a_seed_gives_the_same_run_again_and_another_seed_another(bert, stream):
    one, again, other = (run_arm(tiny_arm(bert), stream, seed) for seed in (0, 0, 1))
    equal(one, again)
    assert not np.array_equal(one.predictions.z_live, other.predictions.z_live)
    assert np.array_equal(one.predictions.label, other.predictions.label)


def test_learning_ahead_of_scoring_gives_the_bits_of_the_serial_order(bert, stream, tmp_path):
    result = run_arm(tiny_arm(bert), stream, 0)
    parts = assemble(tiny_arm(bert), stream, 0, tmp_path / "serial")
    z_live = []
    parts.scorer.read()
    while (scored := parts.scorer.score()) is not None:
        plan, rows = parts.trainer.admit(scored.record)
        parts.trainer.decide(rows, plan)
        parts.trainer.line.learn(rows, plan)
        z_live += [row.live.z for row in scored.record.rows]
        parts.scorer.read()
    assert result.predictions.z_live.tolist() == z_live


def test_it_learns_and_serves_as_the_live_trainer_does(bert, stream, tmp_path):
    """The records that a backtest made, given to the trainer that runs on Kafka, end in the same weights."""
    arm = tiny_arm(bert, strategy="gradnorm_is")
    parts = assemble(arm, stream, 0, tmp_path / "tokenizer")
    start = parts.trainer.line.checkpoint()
    registry = ModelRegistry(tmp_path / "live" / "registry")
    candidate = parts.trainer.line.candidate()
    registry.publish(replace(candidate, model=copy_with_shared_tensors(candidate.model)), created_ms=1)
    registry.set_alias("champion", candidate.version)
    checkpoint_store(tmp_path / "live" / "trainer", LINE).write(start)
    set_current_line(tmp_path / "live" / "trainer", LINE)

    records = []
    parts.scorer.read()
    while (scored := parts.scorer.score()) is not None:
        records.append(scored.record)
        plan, rows = parts.trainer.admit(scored.record)
        parts.trainer.decide(rows, plan)
        parts.trainer.line.learn(rows, plan)
        parts.scorer.read()
    rig = Rig(tmp_path / "live", records, settings=arm.trainer, gate=arm.gate)
    rig.run_to_end()

    live, offline = rig.trainer.line, parts.trainer.line
    for name, tensor in offline.learner.tensors().items():
        assert torch.equal(tensor, live.learner.tensors()[name]), name
    for name in ("champion", "previous", "update", "number", "holds_in_row", "rows_since_champion", "offsets"):
        assert getattr(offline.state, name) == getattr(live.state, name), name
    assert offline.state.champion != start.state.champion


def test_rows_shown_before_the_first_decision_were_shown_by_version_1_and_later_ones_not(bert, stream):
    found = run_arm(tiny_arm(bert, strategy="full", gate=None), stream, 0).predictions
    # Plan k of 100 rows is complete when its last label is due, a window of 180 rows after that row was shown.
    before = 100 + 180
    assert found.z_served[:before] == pytest.approx(found.z_frozen[:before], abs=1e-5)
    assert np.abs(found.z_served[400:] - found.z_frozen[400:]).min() > 0
    assert np.abs(found.z_served[400:] - found.z_live[400:]).max() > 1e-4


def test_no_update_is_the_frozen_version_for_ever(bert, stream):
    result = run_arm(tiny_arm(bert, strategy="no_update"), stream, 0)
    assert result.predictions.z_live == pytest.approx(result.predictions.z_frozen, abs=1e-5)
    assert sum(one.backward_rows for one in result.rounds) == 0
    assert {one.gate_decision for one in result.rounds} == {None}


def test_a_learning_arm_ends_above_the_frozen_version(bert, tmp_path):
    stream = tiny_stream(tmp_path, 4_000, warm_start_rows=100)
    arm = tiny_arm(
        bert, strategy="full", trainer=tiny_arm(bert).trainer.model_copy(update={"head_learning_rate": 0.02})
    )
    late = run_arm(arm, stream, 0).rounds[-10:]
    assert np.mean([one.auc_live for one in late]) > np.mean([one.auc_frozen for one in late]) + 0.02


def test_rows_are_selected_by_the_hash_of_their_seeded_ids(bert, stream):
    result = run_arm(tiny_arm(bert, budget=0.3), stream, 5)
    ids = [row.labeled.impression.impression_id for row in stream.rows(5)][200:]
    expected = sum(hash01(name, SELECTION_SALT) < 0.3 for name in ids)
    assert sum(one.backward_rows for one in result.rounds) == expected


def test_what_runs_share_changes_nothing(bert, stream, tmp_path):
    arm = tiny_arm(bert)
    alone = run_arm(arm, stream, 0)
    first = run_arm(arm, stream, 0, cache=tmp_path / "cache")
    second = run_arm(tiny_arm(bert, strategy="full"), stream, 0, cache=tmp_path / "cache")
    equal(alone, first)
    equal(second, run_arm(tiny_arm(bert, strategy="full"), stream, 0))


def test_a_part_of_the_rows_may_do_for_the_frozen_version(bert, stream, tmp_path):
    arm = tiny_arm(bert)
    arm = replace(arm, scorer=arm.scorer.model_copy(update={"frozen_share": 0.25}))
    for _ in range(2):
        scored = ~np.isnan(run_arm(arm, stream, 0, cache=tmp_path / "cache").predictions.z_frozen)
        assert 0.15 < scored.mean() < 0.35


def test_whoever_watches_may_end_a_run(bert, stream, tmp_path):
    seen = []

    def three(one):
        seen.append(one)
        return len(seen) < 3

    result = run_arm(tiny_arm(bert), stream, 0, on_round=three, cache=tmp_path / "cache")
    assert len(result.rounds) == 3
    assert result.rounds == seen
    assert not result.is_complete
    assert len(result.predictions) == 300


def test_the_last_small_plan_is_played_too(bert, tmp_path):
    result = run_arm(tiny_arm(bert), tiny_stream(tmp_path, 450), 0)
    assert [one.rows for one in result.rounds] == [100, 100, 50]


def test_a_simulated_stream_has_a_limit_that_arms_are_measured_against(bert):
    stream = simulated_stream("none", 1_500)
    result = run_arm(tiny_arm(bert), stream, 0)
    assert all(one.auc_limit > 0.6 for one in result.rounds)
    assert not np.isnan(result.predictions.click_probability).any()


def test_early_negatives_are_judged_by_their_final_labels_and_clicks_are_learned_again(bert, tmp_path):
    usual = run_arm(tiny_arm(bert, strategy="full"), tiny_stream(tmp_path), 0)
    early = run_arm(tiny_arm(bert, strategy="full"), tiny_stream(tmp_path).with_early_negatives(), 0)
    assert early.predictions.label.tolist() == usual.predictions.label.tolist()
    assert early.predictions.index.tolist() == usual.predictions.index.tolist()
    clicks = int(usual.predictions.label.sum())
    assert sum(one.backward_rows for one in early.rounds) == 1_000 + clicks
    assert sum(one.rows for one in early.rounds) == 1_000
