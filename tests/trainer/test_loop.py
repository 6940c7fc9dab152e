import math
from dataclasses import replace

import msgspec
import numpy as np
import pytest
import torch

from stream.disk.durable_files import StorageError
from stream.events import RoleScore
from tests.doubles import tiny_bundle
from tests.full_disk import no_file_larger_than
from tests.trainer.rig import START_MS, Rig, example, recorded_log, spoil_head
from trainer.failures import OUT_OF_MEMORY
from trainer.plans.example_record import ExampleRecord
from trainer.promotion.slow_harm import LEAST_UPDATES
from trainer.settings import GateSettings, TrainerSettings
from trainer.state.ledger import read_ledger
from trainer.state.plan import PlanStore

LINE = "00000000"
ALWAYS = {"inclusion_probability": 1.0}
NEWEST = {"fresh_updates": 1.0, "ladder_rows": 0}
"""What serves is the newest weights, not what the ladder makes of them."""


def one_partition(plans):
    """Return a log of one record a plan, all in partition 0."""
    return [ExampleRecord(0, offset, START_MS + offset * 1000, tuple(rows)) for offset, rows in enumerate(plans)]


def scarves(start, *, num_rows=64, flip=False, skilled=True):
    """Return rows in which scarves are clicked, or with `flip` the rest; a skilled live version knows scarves."""
    rows = []
    for index in range(start, start + num_rows):
        plain = example(index, **ALWAYS)
        is_scarf = "scarf" in plain.labeled.impression.item_text
        label = int(is_scarf != flip)
        # Without a slip now and then the live version would be perfect and its AUC without variance.
        knows = is_scarf if index % 9 else not is_scarf
        live = RoleScore(version="live", z=2.0 if knows and skilled else -2.0 + 0.001 * (index * index * 31 % 101))
        labeled = msgspec.structs.replace(plain.labeled, label=label)
        rows.append(example(index, labeled=labeled, live=live, **ALWAYS))
    return rows


def against_frozen(start, *, worse):
    """Return rows that the frozen version scores too; the live one is better than it, or worse."""
    rows = []
    for index, row in enumerate(scarves(start)):
        blunt = RoleScore(version=f"{LINE}-000000", z=0.01 * (index * 7 % 11))
        knowing = msgspec.structs.replace(row.live, version=blunt.version)
        live, frozen = (blunt, knowing) if worse else (knowing, blunt)
        rows.append(msgspec.structs.replace(row, live=live, frozen=frozen))
    return rows


def promoted(rig):
    return [release.version for release in rig.topic.read() if release.alias == "champion"]


def steps(rig, count):
    for _ in range(count):
        rig.clock.advance(10.0)
        rig.trainer.step()


def decisions(rig):
    return {
        name: rig.metrics.gate.decisions.labels(name)._value.get() for name in ("promote", "hold", "wait", "stopped")
    }


def test_the_plan_is_on_disk_before_its_update_runs(tmp_path):
    rig = Rig(tmp_path, recorded_log(100))
    seen = []
    admit = rig.trainer.line.admit
    plans = PlanStore(rig.trainer_dir / LINE / "plans")

    def admit_and_look(records):
        seen.append(plans.read(rig.trainer.line.state.update + 1))
        return admit(records)

    rig.trainer.line.admit = admit_and_look
    rig.run_to_end()
    assert seen
    assert None not in seen


def test_a_version_is_published_with_the_weights_from_before_its_plan(tmp_path):
    rig = Rig(tmp_path, recorded_log(300))
    rig.run_to_end()
    first = rig.registry.manifest(promoted(rig)[1])
    # Version 2 holds update 1; it was judged on plan 2 and has learned up to where that begins.
    assert first.number == 2
    assert first.plan["judged_on"] == 2
    assert first.covered_offsets == first.plan["first"]
    assert first.gate.decision == "promote"


def test_offsets_are_committed_after_the_checkpoint(tmp_path):
    rig = Rig(tmp_path, recorded_log(300))
    rig.run_to_end()
    assert rig.log.committed == rig.newest_checkpoint().state.offsets == rig.log.ends()


def test_nothing_is_judged_before_anything_was_learned(tmp_path):
    rig = Rig(tmp_path, recorded_log(70))
    rig.run_to_end()
    assert len(promoted(rig)) == 1  # the announcement of version 0


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
    gate = GateSettings(min_clicks=10, max_auc_harm=1.0, max_log_loss_harm=10.0)
    rig = Rig(tmp_path, one_partition(plans), gate=gate)
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


def test_pause_stops_learning_and_resume_goes_on(tmp_path):
    rig = Rig(tmp_path, recorded_log(300))
    rig.inbox.send("pause")
    steps(rig, 20)
    assert rig.trainer.line.state.update == 0
    assert rig.inbox.answers[0].done
    rig.inbox.send("resume")
    steps(rig, 20)
    assert rig.trainer.line.state.update > 0


def test_a_pause_outlives_a_restart(tmp_path):
    rig = Rig(tmp_path, recorded_log(300))
    rig.inbox.send("pause")
    steps(rig, 1)
    again = Rig(tmp_path, recorded_log(300))
    steps(again, 20)
    assert again.trainer.line.state.update == 0


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
    gate = GateSettings(min_clicks=10, max_auc_harm=1.0)
    rig = Rig(tmp_path, one_partition([scarves(64 * k, skilled=False) for k in range(6)]), gate=gate)
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


def test_the_offset_of_a_command_is_in_the_checkpoint_before_its_answer(tmp_path):
    rig = Rig(tmp_path, recorded_log(300))
    seen = []
    rig.inbox.answer = lambda result: seen.append(rig.newest_checkpoint().state)
    rig.inbox.send("pause")
    steps(rig, 1)
    assert [(state.command_offset, state.paused) for state in seen] == [(1, True)]


def test_a_restart_with_nothing_to_repeat_changes_nothing(tmp_path):
    rig = Rig(tmp_path, recorded_log(300))
    rig.run_to_end()
    digest, releases = rig.checkpoint_digest(), rig.topic.read()
    again = Rig(tmp_path, recorded_log(300))
    again.trainer.run(lambda: True)
    assert (again.checkpoint_digest(), again.topic.read()) == (digest, releases)


def test_a_restart_announces_what_the_crash_left_unannounced(tmp_path):
    rig = Rig(tmp_path, recorded_log(300))
    rig.run_to_end()
    path = tmp_path / "releases.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
    again = Rig(tmp_path, recorded_log(300))
    again.trainer.run(lambda: True)
    assert promoted(again)[-1] == again.trainer.line.state.champion


def test_a_trainer_that_learns_nothing_promotes_nothing(tmp_path):
    rows = [[example(64 * k + index, inclusion_probability=0.0) for index in range(64)] for k in range(4)]
    rig = Rig(tmp_path, one_partition(rows))
    rig.run_to_end()
    assert promoted(rig) == [f"{LINE}-000000"]
    outcomes = set(read_ledger(rig.trainer_dir)["outcome"].to_pylist())
    assert outcomes == {"sampled_out"}


def test_the_metrics_agree_with_the_ledger(tmp_path):
    rig = Rig(tmp_path, recorded_log(300))
    rig.run_to_end()
    outcomes = read_ledger(rig.trainer_dir)["outcome"].to_pylist()
    for outcome in ("trained", "sampled_out", "repeat"):
        assert rig.metrics.rows.labels(outcome)._value.get() == outcomes.count(outcome)
    assert rig.metrics.updates._value.get() == rig.trainer.line.state.update
    assert [rig.metrics.lag.labels(str(partition))._value.get() for partition in (0, 1)] == [0, 0]


def test_plans_that_no_restart_needs_are_dropped(tmp_path):
    rig = Rig(tmp_path, recorded_log(800))
    rig.run_to_end()
    plans = list((rig.trainer_dir / LINE / "plans").iterdir())
    assert len(plans) <= rig.settings.keep_checkpoints + 1


def test_evidence_begins_anew_after_a_decision(tmp_path):
    rig = Rig(tmp_path, one_partition([scarves(64 * k, skilled=False) for k in range(3)]))
    steps(rig, 3)
    assert rig.trainer.line.evidence is None
    assert np.isfinite(rig.metrics.loss._value.get())


def test_a_full_disk_ends_the_trainer_in_one_line_and_the_next_start_goes_on(tmp_path):
    records = recorded_log(100)
    rig = Rig(tmp_path, records)
    with no_file_larger_than(20_000), pytest.raises(StorageError, match=r"checkpoint-\d+: [\d,]+ bytes wanted"):
        rig.run_to_end()
    rig = Rig(tmp_path, records)
    rig.run_to_end()
    assert read_ledger(rig.trainer_dir).num_rows == sum(len(record.rows) for record in records)


def broken(*_, **__):
    raise ZeroDivisionError


def test_what_cannot_be_judged_is_held_and_learning_goes_on(tmp_path):
    rig = Rig(tmp_path, one_partition([scarves(64 * k, skilled=False) for k in range(3)]))
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


def test_an_update_that_fails_is_settled_without_learning_it(tmp_path):
    log = one_partition([scarves(64 * k, skilled=False) for k in range(3)])
    rig = Rig(tmp_path, log)
    steps(rig, 1)
    weights = {name: tensor.clone() for name, tensor in rig.trainer.line.learner.tensors().items()}
    update_statistics = rig.trainer.line.learner._step

    def step_once_then_fail(*arguments):
        update_statistics(*arguments)
        raise IndexError

    rig.trainer.line.learner._step = step_once_then_fail
    steps(rig, 1)
    rig.trainer.line.learner._step = update_statistics
    state = rig.trainer.line.state
    assert (state.update, state.offsets[0]) == (2, 2)
    assert all(torch.equal(weights[name], tensor) for name, tensor in rig.trainer.line.learner.tensors().items())
    outcomes = read_ledger(rig.trainer_dir).to_pylist()
    assert [(row["outcome"], row["weight"]) for row in outcomes if row["update"] == 2] == [("failed", 0.0)] * 64
    assert rig.metrics.refused_updates._value.get() == 1
    steps(rig, 1)
    assert rig.trainer.line.state.update == 3
    assert not any(row["outcome"] == "failed" for row in read_ledger(rig.trainer_dir).to_pylist() if row["update"] == 3)


def test_an_update_that_failed_is_settled_alike_after_a_kill(tmp_path):
    log = one_partition([scarves(64 * k, skilled=False) for k in range(3)])
    digests = []
    for name, killed in (("undisturbed", False), ("killed", True)):
        rig = Rig(tmp_path / name, log)
        steps(rig, 1)
        rig.trainer.line.learn = broken
        if killed:
            # The process ends when the failure is on disk and the plan is not settled yet.
            rig.trainer.line.restore = broken
            with pytest.raises(ZeroDivisionError):
                steps(rig, 1)
            rig = Rig(tmp_path / name, log)
        rig.run_to_end() if killed else steps(rig, 1)
        again = Rig(tmp_path / name, log)
        again.run_to_end()
        digests.append((again.checkpoint_digest(), read_ledger(again.trainer_dir).to_pylist()))
    assert digests[0] == digests[1]


@pytest.mark.parametrize("error", [OSError, *OUT_OF_MEMORY])
def test_an_error_of_the_machine_ends_the_process_and_the_update_is_repeated(tmp_path, error):
    log = one_partition([scarves(0, skilled=False)])
    rig = Rig(tmp_path, log)

    def fail(*_):
        raise error

    rig.trainer.line.learn = fail
    with pytest.raises(error):
        steps(rig, 1)
    again = Rig(tmp_path, log)
    again.run_to_end()
    assert again.trainer.line.state.rows_since_champion == 64


class CrashError(Exception):
    pass


def crash_after(tmp_path, log, place):
    """Run until a crash at the third update, and damage the plan that it leaves."""
    rig = Rig(tmp_path, log)
    steps(rig, 2)

    def crash(name):
        if name == place:
            raise CrashError

    rig.failpoints.pass_through = crash
    with pytest.raises(CrashError):
        steps(rig, 1)
    (rig.trainer_dir / LINE / "plans" / "plan-00000003.json").write_text("{")


def test_a_damaged_plan_of_which_nothing_came_is_cut_anew(tmp_path):
    log = one_partition([scarves(64 * k, skilled=False) for k in range(4)])
    undisturbed = Rig(tmp_path / "undisturbed", log)
    undisturbed.run_to_end()
    crash_after(tmp_path / "damaged", log, "admitted")
    again = Rig(tmp_path / "damaged", log)
    again.run_to_end()
    assert again.checkpoint_digest() == undisturbed.checkpoint_digest()
    assert read_ledger(again.trainer_dir).equals(read_ledger(undisturbed.trainer_dir))


def test_a_damaged_plan_that_promoted_a_version_ends_the_trainer(tmp_path):
    log = one_partition([scarves(64 * k, skilled=False) for k in range(4)])
    crash_after(tmp_path, log, "published")
    with pytest.raises(ValueError, match=r"plan-00000003\.json"):
        Rig(tmp_path, log).run_to_end()


@pytest.mark.parametrize("error", OUT_OF_MEMORY)
def test_an_update_that_never_fits_in_memory_ends_the_process_once(tmp_path, error):
    log = one_partition([scarves(64 * k, skilled=False) for k in range(2)])

    def run_out(*_):
        raise error

    rig = Rig(tmp_path, log)
    rig.trainer.line.learner.learn = run_out
    with pytest.raises(error):
        steps(rig, 1)
    again = Rig(tmp_path, log)
    again.trainer.line.learner.learn = run_out
    again.trainer.run(lambda: again.trainer.line.state.update == 1)
    assert again.metrics.refused_updates._value.get() == 1
    assert {row["outcome"] for row in read_ledger(again.trainer_dir).to_pylist()} == {"failed"}
    last = Rig(tmp_path, log)
    last.run_to_end()
    assert last.trainer.line.state.rows_since_champion == 64


def test_a_new_line_that_a_crash_kept_from_serving_serves_at_the_next_start(tmp_path):
    log = one_partition([scarves(0)])
    rig = Rig(tmp_path, log)
    other = replace(tiny_bundle(tmp_path / "other", seed=5), version="11111111-000007")
    rig.registry.publish(other, created_ms=1)
    rig.publisher().move({"champion": other.version, "frozen": other.version}, "initialised")
    again = Rig(tmp_path, log)
    again.trainer.run(lambda: True)
    assert again.registry.alias("champion") == again.registry.alias("frozen") == f"{LINE}-000000"
    assert promoted(again)[-1] == f"{LINE}-000000"


def test_every_plan_on_disk_is_repeated_as_it_was_cut(tmp_path):
    log = one_partition([scarves(16 * k, num_rows=16) for k in range(8)])
    settings = TrainerSettings(update_rows=32, batch_rows=8, warmup_steps=4)
    rig = Rig(tmp_path, log, settings=settings)
    steps(rig, 3)
    checkpoints = rig.trainer_dir / LINE / "checkpoints"
    for name in sorted(path.name for path in checkpoints.iterdir())[-2:]:
        (checkpoints / name / "manifest.json").unlink()
    again = Rig(tmp_path, log, settings=settings.model_copy(update={"update_rows": 16}))
    again.trainer.run(lambda: again.trainer.line.state.update >= 3)
    assert again.trainer.line.state.update == 3
    assert again.trainer.line.state.offsets[0] == 6


def test_a_paused_trainer_shows_how_its_lag_grows(tmp_path):
    rig = Rig(tmp_path, one_partition([scarves(0)]))
    rig.inbox.send("pause")
    steps(rig, 1)
    assert rig.metrics.lag.labels("0")._value.get() == 1
    rig.log.records += [ExampleRecord(0, 1, START_MS, ()), ExampleRecord(0, 2, START_MS, ())]
    steps(rig, 1)
    assert rig.metrics.lag.labels("0")._value.get() == 3
