import itertools

from hypothesis import given
from hypothesis import strategies as st

from scorer.engine.batching import plan_micro_batches

LENGTHS = st.lists(st.integers(1, 64), max_size=200)
BOUND = st.integers(1, 512)


@given(LENGTHS, BOUND)
def test_every_row_is_in_exactly_one_micro_batch(lengths, bound):
    planned = [index for batch in plan_micro_batches(lengths, bound) for index in batch]
    assert sorted(planned) == list(range(len(lengths)))


@given(LENGTHS, BOUND)
def test_padded_tokens_stay_within_the_bound_unless_a_row_is_longer(lengths, bound):
    for batch in plan_micro_batches(lengths, bound):
        assert len(batch) == 1 or len(batch) * max(lengths[index] for index in batch) <= bound


@given(LENGTHS, BOUND)
def test_no_two_neighbours_would_fit_in_one(lengths, bound):
    batches = list(plan_micro_batches(lengths, bound))
    for first, second in itertools.pairwise(batches):
        assert (len(first) + 1) * lengths[second[0]] > bound


def test_rows_of_equal_length_keep_their_order():
    assert list(plan_micro_batches([5, 3, 5, 3], 1000)) == [[1, 3, 0, 2]]
