import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.trainer.rig import MemoryLog, recorded_log
from trainer.plans.example_record import in_plan_order
from trainer.plans.record_merger import RecordMerger


def merge(arrivals, ends):
    merger = RecordMerger({0: 0, 1: 0, 2: 0})
    merged = []
    for record in arrivals:
        merger.add(record)
        while (popped := merger.pop(ends)) is not None:
            merged.append(popped)
    assert merger.at_end(ends)
    return merged


@given(st.randoms())
def test_records_leave_in_one_order_however_partitions_answer(random):
    records = recorded_log(80, num_partitions=3)
    queues = [[record for record in records if record.partition == p] for p in range(3)]
    arrivals = []
    while any(queues):
        arrivals.append(random.choice([queue for queue in queues if queue]).pop(0))
    ends = MemoryLog(records, num_partitions=3).ends()
    assert merge(arrivals, ends) == in_plan_order(records)


def test_nothing_leaves_while_a_partition_that_has_more_shows_no_head():
    records = recorded_log(80)
    merger = RecordMerger({0: 0, 1: 0})
    merger.add(next(record for record in records if record.partition == 0))
    assert merger.has_empty_partition()
    assert merger.pop({0: 5, 1: 1}) is None
    assert merger.pop({0: 5, 1: 0}) is not None


def test_offsets_without_a_record_do_not_hold_the_others_up():
    merger = RecordMerger({0: 0, 1: 0})
    merger.add(next(record for record in recorded_log(80) if record.partition == 0))
    merger.read_past(1, 4)
    assert merger.pop({0: 1, 1: 4}) is not None
    assert merger.at_end({0: 1, 1: 4})


def test_a_record_that_runs_backwards_is_refused():
    merger = RecordMerger({0: 0, 1: 0})
    record = next(record for record in recorded_log(80) if record.partition == 0)
    merger.add(record)
    with pytest.raises(ValueError, match="partition 0: offset 0"):
        merger.add(record)


def test_rows_that_wait_are_counted_by_partition():
    merger = RecordMerger({0: 0, 1: 0})
    record = next(record for record in recorded_log(80) if record.partition == 1)
    merger.add(record)
    assert (merger.num_rows(0), merger.num_rows(1), merger.num_records) == (0, len(record.rows), 1)
