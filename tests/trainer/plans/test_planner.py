import itertools

from tests.doubles import ManualClock
from tests.trainer.rig import MemoryLog, recorded_log
from trainer.plans.planner import Planner, cut_plan
from trainer.settings import TrainerSettings

START = {0: 0, 1: 0}
SETTINGS = TrainerSettings(update_rows=40, update_seconds=5.0)


def planner_over(log, clock=None):
    clock = clock or ManualClock()
    return Planner(log, START, SETTINGS, lambda: clock() / 1000)


def all_plans(log, clock):
    planner = planner_over(log, clock)
    plans = []
    for _ in range(100):
        clock.advance(1.0)
        if (records := planner.collect(0.0)) is not None:
            plans.append(records)
    return plans


def test_a_plan_is_cut_at_the_record_that_fills_it():
    plan = all_plans(MemoryLog(recorded_log(200)), ManualClock())[0]
    sizes = [len(record.rows) for record in plan]
    assert sum(sizes) >= 40
    assert sum(sizes) - max(sizes) < 40


def test_plans_do_not_depend_on_how_the_log_arrives():
    records = recorded_log(300)
    plans = [all_plans(MemoryLog(records, records_per_poll=count), ManualClock()) for count in (1, 2, 50)]
    assert plans[0] == plans[1] == plans[2]


def test_every_record_is_in_exactly_one_plan():
    records = recorded_log(300)
    planned = list(itertools.chain(*all_plans(MemoryLog(records), ManualClock())))
    assert sorted((r.partition, r.offset) for r in planned) == sorted((r.partition, r.offset) for r in records)


def test_a_quiet_stream_waits_for_update_seconds_and_no_longer():
    clock = ManualClock()
    planner = planner_over(MemoryLog(recorded_log(20)[:2], records_per_poll=50), clock)
    assert planner.collect(0.0) is None
    clock.advance(4.9)
    assert planner.collect(0.0) is None
    clock.advance(0.1)
    assert planner.collect(0.0) is not None


def test_a_partition_with_plenty_is_not_read_further():
    records = recorded_log(4000, num_partitions=1)
    log = MemoryLog(records, records_per_poll=5)
    planner = planner_over(log)
    log.ends = lambda: {0: len(records), 1: 1}  # partition 1 shows nothing, and may still show an older record
    for _ in range(200):
        assert planner.collect(0.0) is None
    assert sum(len(record.rows) for record in records[: log.positions()[0]]) < 80 + 5 * 15


def test_an_interrupted_plan_is_read_again_with_the_same_records():
    log = MemoryLog(recorded_log(200))
    planner = planner_over(log)
    while (records := planner.collect(0.0)) is None:
        pass
    plan = cut_plan(1, START, records, line="00000000", seed=0)
    again = planner_over(log).read(plan, lambda: False)
    assert again == records


def test_reading_goes_on_after_the_plan_that_was_read_again():
    log = MemoryLog(recorded_log(200))
    first, second = all_plans(log, ManualClock())[:2]
    planner = planner_over(log)
    planner.read(cut_plan(1, START, first, line="00000000", seed=0), lambda: False)
    while (records := planner.collect(0.0)) is None:
        pass
    assert records == second


def test_reading_a_plan_again_ends_when_asked_to_stop():
    log = MemoryLog(recorded_log(200))
    plan = cut_plan(1, START, recorded_log(200), line="00000000", seed=0)
    assert planner_over(log).read(plan, lambda: True) is None


def test_an_idle_planner_reads_nothing():
    log = MemoryLog(recorded_log(200))
    planner_over(log).idle(0.0)
    assert log.positions() == START


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
