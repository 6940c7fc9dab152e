from hypothesis import given
from hypothesis import strategies as st

from tests.trainer.rig import recorded_log
from trainer.plans.example_record import in_plan_order


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
