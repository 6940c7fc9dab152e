from dataclasses import replace

import numpy as np
import pytest
import torch

from stream.disk.durable_files import StorageError
from tests.doubles import tiny_bundle
from tests.full_disk import no_file_larger_than
from tests.trainer.rig import START_MS, Rig, example, recorded_log
from tests.trainer.scarves import LINE, one_partition, promoted, scarves, steps
from trainer.failures import OUT_OF_MEMORY
from trainer.plans.example_record import ExampleRecord
from trainer.settings import TrainerSettings
from trainer.state.ledger import read_ledger
from trainer.state.plan import PlanStore


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
