import pytest

from tests.trainer.rig import recorded_log
from trainer.plans.planner import cut_plan
from trainer.state.plan import PlanStore


def test_a_written_plan_is_read_back_and_a_missing_one_is_none(tmp_path):
    store = PlanStore(tmp_path)
    plan = cut_plan(3, {0: 0, 1: 0}, recorded_log(20), line="00000000", seed=0)
    store.write(plan)
    assert store.read(3) == plan
    assert store.read(4) is None


def test_a_damaged_plan_is_refused_by_name(tmp_path):
    (tmp_path / "plan-00000003.json").write_text("{")
    with pytest.raises(ValueError, match=r"plan-00000003\.json"):
        PlanStore(tmp_path).read(3)


def test_pruning_drops_only_older_plans_and_clearing_drops_all(tmp_path):
    store = PlanStore(tmp_path)
    for number in (1, 2, 3):
        store.write(cut_plan(number, {0: 0, 1: 0}, recorded_log(20), line="00000000", seed=0))
    store.prune(3)
    assert [store.read(number) is None for number in (1, 2, 3)] == [True, True, False]
    store.clear()
    assert store.read(3) is None


def test_only_the_last_plan_is_dropped_and_its_refusal_with_it(tmp_path):
    store = PlanStore(tmp_path)
    for number in (1, 2):
        store.write(cut_plan(number, {0: 0, 1: 0}, recorded_log(20), line="00000000", seed=0))
        store.refuse(number)
    assert not store.drop(1)
    assert store.drop(2)
    assert store.read(2) is None
    assert [store.is_refused(number) for number in (1, 2)] == [True, False]


def test_what_is_no_plan_of_ours_is_left_alone(tmp_path):
    stray = tmp_path / "plan-of-mine.json"
    stray.write_text("{}")
    store = PlanStore(tmp_path)
    store.write(cut_plan(1, {0: 0, 1: 0}, recorded_log(20), line="00000000", seed=0))
    store.prune(2)
    store.clear()
    assert list(tmp_path.iterdir()) == [stray]
