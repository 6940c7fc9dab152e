import math
from dataclasses import replace

import pytest
import torch

from tests.doubles import tiny_bundle
from tests.trainer.rig import Rig, recorded_log, spoil_head
from tests.trainer.scarves import LINE, NEWEST, against_frozen, decisions, one_partition, promoted, scarves, steps
from trainer.promotion.slow_harm import LEAST_UPDATES
from trainer.settings import GateSettings, TrainerSettings
from trainer.state.ledger import read_ledger

LENIENT = GateSettings(min_clicks=10, max_auc_harm=1.0, max_log_loss_harm=10.0)
"""Holds nothing that one judgement can show."""


def test_a_poisoned_plan_is_held_and_learning_goes_on(tmp_path):
    settings = TrainerSettings(
        update_rows=64, batch_rows=8, warmup_steps=0, encoder_learning_rate=1e-2, head_learning_rate=3e-2, **NEWEST
    )
    plans = [
        scarves(0, num_rows=512, skilled=False),
        scarves(512, skilled=False),
        scarves(576, num_rows=512, flip=True, skilled=False),
        scarves(1088, skilled=False),
    ]
    rig = Rig(tmp_path, one_partition(plans), settings=settings)
    rig.run_to_end()
    versions = rig.registry.versions()
    assert f"{LINE}-000002" in versions  # learned from clean rows, judged on clean rows
    assert f"{LINE}-000004" not in versions  # learned from poisoned rows, judged on clean rows
    assert rig.trainer.line.state.holds_in_row >= 1
    assert rig.trainer.line.state.update == 4


def test_holds_in_a_row_bring_the_champion_back_and_count_what_is_discarded(tmp_path):
    # The gate promotes nothing: any difference is harm to it.
    gate = GateSettings(min_clicks=2, max_auc_harm=0.0, max_calibration=1.0001, max_holds=2)
    plans = [scarves(64 * k) for k in range(4)]
    settings = TrainerSettings(update_rows=64, batch_rows=8, warmup_steps=0, head_learning_rate=1e-9)
    rig = Rig(tmp_path, one_partition(plans), gate=gate, settings=settings)
    rig.run_to_end()
    state = rig.trainer.line.state
    # What plans 1 and 2 taught is held twice and discarded; plans 3 and 4 begin at the champion again.
    assert decisions(rig)["hold"] == 3
    assert state.discarded_rows == 128
    assert state.rows_since_champion == 128
    assert state.holds_in_row == 1
    assert rig.metrics.gate.discarded_rows._value.get() == 128


def test_a_line_that_is_surely_worse_than_the_frozen_version_begins_again_from_it_and_learns_again(tmp_path):
    plans = [against_frozen(64 * k, worse=4 <= k < 4 + 2 * LEAST_UPDATES) for k in range(8 + 2 * LEAST_UPDATES)]
    rig = Rig(tmp_path, one_partition(plans), gate=LENIENT)
    while not rig.metrics.gate.holds.labels("worse_than_frozen")._value.get():
        steps(rig, 1)
    assert promoted(rig)[-2] != promoted(rig)[-1] == rig.registry.alias("champion") == f"{LINE}-000000"
    state = rig.trainer.line.state
    assert (state.champion, state.lineage, state.promotions_stopped) == (f"{LINE}-000000", f"{LINE}-000000", False)
    assert state.discarded_rows > 0
    while rig.trainer.line.state.offsets != rig.log.ends():
        steps(rig, 1)
    assert promoted(rig)[-1] > f"{LINE}-000000"
    assert rig.metrics.gate.holds.labels("worse_than_frozen")._value.get() == 1


def test_a_return_to_the_frozen_version_that_a_crash_interrupted_is_made_again(tmp_path):
    worse = [against_frozen(64 * k, worse=True) for k in range(2 * LEAST_UPDATES)]
    rigs = [Rig(tmp_path / name, one_partition(worse), gate=LENIENT) for name in ("one", "two")]
    for rig in rigs:
        steps(rig, LEAST_UPDATES)
    undisturbed, crashed = rigs

    def crashing(*_):
        raise OSError

    crashed.trainer._serving._publisher._announce = crashing
    with pytest.raises(OSError):  # noqa: PT011
        steps(crashed, 1)
    assert crashed.registry.alias("champion") == f"{LINE}-000000"
    again = Rig(crashed.directory, crashed.log.records, gate=crashed.gate)
    again.trainer.run(lambda: again.trainer.line.state.update > LEAST_UPDATES)
    steps(undisturbed, 1)
    assert again.metrics.gate.holds.labels("worse_than_frozen")._value.get() == 1
    assert promoted(again) == promoted(undisturbed)
    assert again.checkpoint_digest() == undisturbed.checkpoint_digest()
    assert again.trainer.line.state == undisturbed.trainer.line.state


def test_after_a_rollback_nothing_is_held_against_what_no_longer_serves(tmp_path):
    worse = [against_frozen(64 * k, worse=True) for k in range(LEAST_UPDATES + 2)]
    rig = Rig(tmp_path, one_partition(worse), gate=LENIENT)
    steps(rig, LEAST_UPDATES)
    rig.inbox.send("rollback")
    rig.inbox.send("resume_promotions")
    steps(rig, 2)
    assert rig.metrics.gate.holds.labels("worse_than_frozen")._value.get() == 0


def test_weights_that_are_not_finite_bring_the_champion_back_at_once(tmp_path):
    rig = Rig(tmp_path, one_partition([scarves(64 * k) for k in range(3)]))
    steps(rig, 1)
    spoil_head(rig.trainer.line, "bias", math.nan)
    steps(rig, 1)
    assert rig.metrics.gate.holds.labels("non_finite")._value.get() == 1
    tensors = rig.newest_checkpoint().tensors
    assert all(
        bool(tensor.isfinite().all()) for name, tensor in tensors.items() if name.startswith(("weights", "ladder"))
    )
    assert promoted(rig) == [f"{LINE}-000000"]


def test_the_champions_optimizer_state_comes_back_with_its_weights(tmp_path):
    rig = Rig(tmp_path, one_partition([scarves(64 * k, skilled=False) for k in range(4)]))
    steps(rig, 2)
    state = rig.trainer.line.state
    champion = rig.newest_checkpoint()
    assert state.champion_checkpoint == "checkpoint-0000000001"
    assert champion.state.champion == f"{LINE}-000002"
    rig.trainer._serving.go_back_to(state.champion)
    tensors = rig.trainer.line.learner.tensors()
    assert any(name.startswith("optimizer/exp_avg/") for name in tensors)
    published = rig.registry.load(state.champion).model.trainable_parameters()
    assert all(torch.equal(tensors[f"weights/{name}"], tensor) for name, tensor in published.items())


def test_a_rollback_serves_the_previous_version_and_stops_promotions(tmp_path):
    rig = Rig(tmp_path, one_partition([scarves(64 * k, skilled=False) for k in range(8)]))
    steps(rig, 3)
    before = rig.trainer.line.state
    rig.inbox.send("rollback")
    steps(rig, 3)
    after = rig.trainer.line.state
    assert (after.champion, after.previous) == (before.previous, before.champion)
    assert promoted(rig)[-1] == rig.registry.alias("champion") == before.previous
    assert rig.topic.read()[-1].reason == "rolled_back"
    assert after.update == 6  # it learns on
    assert decisions(rig)["stopped"] == 3


def test_promotions_go_on_after_resume(tmp_path):
    rig = Rig(tmp_path, one_partition([scarves(64 * k, skilled=False) for k in range(8)]))
    steps(rig, 3)
    rig.inbox.send("rollback", version=f"{LINE}-000000")
    steps(rig, 1)
    assert promoted(rig)[-1] == f"{LINE}-000000"
    rig.inbox.send("resume_promotions")
    steps(rig, 2)
    assert promoted(rig)[-1] > f"{LINE}-000000"


def test_resume_may_restart_from_an_older_version(tmp_path):
    rig = Rig(tmp_path, one_partition([scarves(64 * k, skilled=False) for k in range(8)]))
    steps(rig, 3)
    rig.inbox.send("rollback", version=f"{LINE}-000000")
    rig.inbox.send("resume_promotions", restart_from=f"{LINE}-000000")
    rig.trainer._obey_commands()
    state = rig.trainer.line.state
    assert (state.lineage, state.rows_since_champion) == (f"{LINE}-000000", 0)
    assert state.discarded_rows > 0
    restored = rig.trainer.line.candidate().model.trainable_parameters()
    published = rig.registry.load(f"{LINE}-000000").model.trainable_parameters()
    assert all(torch.equal(restored[name], tensor) for name, tensor in published.items())


def test_a_rollback_may_go_to_another_line_of_the_registry(tmp_path):
    rig = Rig(tmp_path, one_partition([scarves(64 * k, skilled=False) for k in range(6)]))
    other = replace(tiny_bundle(tmp_path / "other", seed=5), version="11111111-000007")
    rig.registry.publish(other, created_ms=1)
    steps(rig, 3)
    learned = rig.trainer.line.state.knowledge.rows
    rig.inbox.send("rollback", version=other.version)
    rig.inbox.send("resume_promotions", restart_from=other.version)
    rig.trainer._obey_commands()
    state = rig.trainer.line.state
    assert [answer.done for answer in rig.inbox.answers] == [True, False]
    assert promoted(rig)[-1] == rig.registry.alias("champion") == other.version
    assert (state.served_before, state.knowledge.rows, state.lineage) == ((), learned, f"{LINE}-000003")
    rig.trainer._serving._restore_champion()
    assert rig.trainer.line.state.lineage == f"{LINE}-000003"
    rig.inbox.send("resume_promotions")
    steps(rig, 2)
    assert promoted(rig)[-1] > f"{LINE}-000003"
    assert promoted(rig)[-1].startswith(LINE)


@pytest.mark.parametrize("version", ["00000000-000099", "11111111-000000", "../secrets"])
def test_a_rollback_to_what_is_not_there_is_refused_and_changes_nothing(tmp_path, version):
    rig = Rig(tmp_path, recorded_log(300))
    rig.inbox.send("rollback", version=version)
    steps(rig, 1)
    (answer,) = rig.inbox.answers
    assert not answer.done
    assert not rig.trainer.line.state.promotions_stopped
    assert promoted(rig) == [f"{LINE}-000000"]


def test_a_rollback_without_a_previous_version_is_refused(tmp_path):
    rig = Rig(tmp_path, recorded_log(300))
    rig.inbox.send("rollback")
    steps(rig, 1)
    assert "millstream models rollback VERSION" in rig.inbox.answers[0].message


def test_a_second_rollback_goes_further_back_and_a_third_is_refused(tmp_path):
    rig = Rig(tmp_path, one_partition([scarves(64 * k, skilled=False) for k in range(3)]))
    steps(rig, 3)
    served = promoted(rig)
    assert len(served) == 3
    for _ in served:
        rig.inbox.send("rollback")
        rig.trainer._obey_commands()
    assert promoted(rig) == [*served, served[1], served[0]]
    assert [answer.done for answer in rig.inbox.answers] == [True, True, False]
    assert rig.registry.alias("champion") == served[0]


def test_a_rollback_passes_over_a_damaged_version(tmp_path):
    rig = Rig(tmp_path, one_partition([scarves(64 * k, skilled=False) for k in range(3)]))
    steps(rig, 3)
    served = promoted(rig)
    (rig.registry.path(served[1]) / "manifest.json").write_bytes(b"{")
    rig.inbox.send("rollback")
    rig.trainer._obey_commands()
    assert [answer.done for answer in rig.inbox.answers] == [True]
    assert rig.registry.alias("champion") == served[0]


def test_learning_from_an_older_version_discards_all_that_was_learned_since(tmp_path):
    rig = Rig(tmp_path, one_partition([scarves(64 * k, skilled=False) for k in range(5)]))
    steps(rig, 4)
    second = promoted(rig)[1]
    learned = read_ledger(rig.trainer_dir)["outcome"].to_pylist().count("trained")
    rig.inbox.send("rollback", version=second)
    rig.inbox.send("resume_promotions", restart_from=second)
    rig.trainer._obey_commands()
    state = rig.trainer.line.state
    assert state.discarded_rows == rig.metrics.gate.discarded_rows._value.get() == learned - 64
    assert state.covered == {0: 1, 1: 0}
    rig.inbox.send("pause")
    steps(rig, 1)
    assert Rig(tmp_path, rig.log.records).trainer.line.state.discarded_rows == learned - 64


def test_a_version_after_undone_learning_says_what_it_has_not_learned(tmp_path):
    settings = TrainerSettings(update_rows=64, batch_rows=8, warmup_steps=4, **NEWEST)
    rig = Rig(tmp_path, one_partition([scarves(64 * k, skilled=False) for k in range(6)]), settings=settings)
    steps(rig, 4)
    rig.inbox.send("rollback", version=f"{LINE}-000002")
    rig.inbox.send("resume_promotions", restart_from=f"{LINE}-000002")
    steps(rig, 2)
    manifest = rig.registry.manifest(promoted(rig)[-1])
    assert (manifest.number, manifest.parent) == (6, f"{LINE}-000002")
    assert manifest.covered_offsets == {"0": 5, "1": 0}
    assert (manifest.learned.rows, manifest.learned.gaps) == (128, ({"0": (1, 4)},))
    assert rig.topic.read()[-1].gaps == ({"0": (1, 4)},)


@pytest.mark.parametrize("crash", ["before_aliases", "before_announcement"])
def test_a_rollback_that_a_crash_interrupted_is_announced_as_a_rollback(tmp_path, crash):
    rig = Rig(tmp_path, one_partition([scarves(64 * k, skilled=False) for k in range(3)]))
    steps(rig, 3)
    served = promoted(rig)

    def crashing(*_):
        raise OSError

    if crash == "before_aliases":
        rig.trainer._serving._publisher.move = crashing
    else:
        rig.trainer._serving._publisher._announce = crashing
    rig.inbox.send("rollback")
    with pytest.raises(OSError):  # noqa: PT011
        rig.trainer._obey_commands()
    again = Rig(tmp_path, rig.log.records)
    again.trainer.run(lambda: True)
    last = {release.alias: release for release in again.topic.read()}["champion"]
    assert (last.version, last.reason) == (served[1], "rolled_back")
    assert again.registry.alias("champion") == served[1]


def test_what_cannot_be_judged_is_held_and_learning_goes_on(tmp_path):
    rig = Rig(tmp_path, one_partition([scarves(64 * k, skilled=False) for k in range(3)]))

    def broken(*_, **__):
        raise ZeroDivisionError

    rig.trainer.line.judge = broken
    steps(rig, 3)
    assert rig.trainer.line.state.update == 3
    assert rig.metrics.gate.holds.labels("judging_failed")._value.get() == 2
    assert promoted(rig) == [f"{LINE}-000000"]


def test_a_version_that_the_registry_refuses_is_held(tmp_path):
    rig = Rig(tmp_path, one_partition([scarves(64 * k, skilled=False) for k in range(4)]))
    other = tiny_bundle(tmp_path / "other", number=2, seed=5)
    rig.registry.publish(other, created_ms=1)
    steps(rig, 3)
    assert rig.metrics.gate.holds.labels("unpublishable")._value.get() == 1
    assert promoted(rig) == [f"{LINE}-000000", f"{LINE}-000003"]


def test_scores_that_collapsed_are_judged_at_every_restart(tmp_path):
    log = one_partition([scarves(64 * k, skilled=False) for k in range(3)])
    rig = Rig(tmp_path, log)
    steps(rig, 1)
    spoil_head(rig.trainer.line, "bias", -1e4)
    rig.trainer._write_checkpoint()
    again = Rig(tmp_path, log)
    steps(again, 2)
    assert again.metrics.gate.decisions.labels("hold")._value.get() == 2
