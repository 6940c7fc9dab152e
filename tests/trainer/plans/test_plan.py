import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.trainer.rig import recorded_log
from trainer.plans.plan import PlanStore, cut_plan, in_plan_order


def test_a_plan_covers_its_records_and_nothing_else():
    records = recorded_log(100)
    plan = cut_plan(1, {0: 0, 1: 0}, records, line="00000000", seed=0)
    assert plan.next == {p: max(r.offset for r in records if r.partition == p) + 1 for p in (0, 1)}
    assert plan.num_rows == sum(len(record.rows) for record in records)
    assert plan.newest_ms == max(record.timestamp_ms for record in records)


def test_a_partition_without_records_stays_where_it_was():
    records = [record for record in recorded_log(50) if record.partition == 0]
    assert cut_plan(1, {0: 0, 1: 7}, records, line="00000000", seed=0).next[1] == 7


def test_seeds_differ_between_updates_and_between_lines():
    records = recorded_log(20)
    seeds = {
        cut_plan(number, {0: 0, 1: 0}, records, line=line, seed=0).seed
        for number in (1, 2)
        for line in ("00000000", "11111111")
    }
    assert len(seeds) == 4


@given(st.randoms())
def test_the_order_of_a_plan_does_not_depend_on_the_order_of_arrival(random):
    records = recorded_log(60)
    shuffled = list(records)
    random.shuffle(shuffled)
    assert in_plan_order(shuffled) == in_plan_order(records)


def test_offset_order_holds_inside_a_partition_even_when_record_times_run_backwards():
    ordered = in_plan_order(recorded_log(200))
    for partition in (0, 1):
        offsets = [record.offset for record in ordered if record.partition == partition]
        assert offsets == sorted(offsets)


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


def test_what_is_no_plan_of_ours_is_left_alone(tmp_path):
    stray = tmp_path / "plan-of-mine.json"
    stray.write_text("{}")
    store = PlanStore(tmp_path)
    store.write(cut_plan(1, {0: 0, 1: 0}, recorded_log(20), line="00000000", seed=0))
    store.prune(2)
    store.clear()
    assert list(tmp_path.iterdir()) == [stray]
