import random

import pytest

from stream.adapter.alignment import Alignment, is_aligned

ALL = 1_000_000
BEHIND = None


def held(**partitions: list[int]) -> Alignment[str, int]:
    """Items are their own times."""
    alignment: Alignment[str, int] = Alignment(max_held=3)
    for partition, times in partitions.items():
        for time_ms in times:
            alignment.add(partition, time_ms, time_ms)
    return alignment


def released(alignment: Alignment[str, int], limit: int = ALL, **ends: int | None) -> list[int]:
    return [item for _, item in alignment.release(ends, limit)]


def test_partitions_merge_in_event_time():
    alignment = held(views=[10, 20, 30], clicks=[15, 25, 35])

    assert released(alignment, views=100, clicks=100) == [10, 15, 20, 25, 30, 35]


def test_one_that_is_behind_holds_up_what_is_newer_than_what_it_gave():
    alignment = held(views=[10, 20], clicks=[15, 25, 35])

    assert released(alignment, views=BEHIND, clicks=BEHIND) == [10, 15, 20]
    alignment.add("views", 30, 30)
    assert released(alignment, views=BEHIND, clicks=BEHIND) == [25, 30]
    assert alignment.num_held == 1


def test_one_that_has_given_nothing_yet_holds_up_all():
    assert released(held(clicks=[15, 25]), views=BEHIND, clicks=BEHIND) == []


def test_one_that_is_silent_at_its_end_holds_up_nothing_older_than_the_look_at_its_end():
    alignment = held(clicks=[15, 25])

    assert released(alignment, views=20, clicks=20) == [15]
    assert released(alignment, views=30, clicks=30) == [25]


def test_all_silent_at_their_ends_hold_nothing():
    alignment = held(views=[10], clicks=[15])

    assert released(alignment, views=99, clicks=99) == [10, 15]
    assert alignment.num_held == 0


def test_a_partition_keeps_its_order_even_where_its_times_do_not():
    alignment = held(views=[30, 10], clicks=[20])

    assert released(alignment, views=99, clicks=99) == [20, 30, 10]


def test_an_item_without_a_time_goes_as_soon_as_it_is_the_first():
    alignment = held(views=[0, 50, 0], clicks=[40])

    assert released(alignment, views=99, clicks=BEHIND) == [0, 40]


def test_no_more_than_the_limit_leave_at_once():
    alignment = held(views=[10, 20, 30])

    assert released(alignment, 2, views=99) == [10, 20]
    assert released(alignment, 2, views=99) == [30]


def test_a_partition_that_is_far_ahead_is_full_and_one_that_is_behind_never_is():
    alignment = held(views=[1], clicks=[5, 6, 7])

    assert alignment.is_full("clicks")
    assert not alignment.is_full("views")
    assert not alignment.is_full("carts")


@pytest.mark.parametrize("seed", range(5))
def test_any_backlog_leaves_whole_in_event_time_with_bounded_memory(seed: int):
    draw = random.Random(seed)
    logs = {name: sorted(draw.randrange(10_000) for _ in range(draw.choice((0, 3, 200)))) for name in "abcd"}
    total = sum(map(len, logs.values()))
    alignment: Alignment[str, int] = Alignment(max_held=10)
    read, out = dict.fromkeys(logs, 0), []
    for _ in range(10_000):
        for name, log in logs.items():
            if not alignment.is_full(name) and read[name] < len(log) and draw.random() < 0.5:
                alignment.add(name, log[read[name]], log[read[name]])
                read[name] += 1
        assert alignment.num_held <= 10 * len(logs)
        ends = {name: 10_000 if read[name] == len(log) else BEHIND for name, log in logs.items()}
        out += [item for _, item in alignment.release(ends, limit=7)]
        if len(out) == total:
            break
    assert out == sorted(time_ms for log in logs.values() for time_ms in log)


@pytest.mark.parametrize(
    ("views", "clicks", "counts", "aligned"),
    [
        ({0, 1, 2, 3}, {0, 1}, (4, 2), True),  # the only worker
        ({0, 2}, {0, 2}, (4, 4), True),  # each events partition has one writer
        ({0, 2}, {1, 3}, (4, 4), False),
        ({0}, {0}, (2, 2), False),  # two writers to the four partitions of events
        ({0, 1}, set(), (4, 2), False),
    ],
)
def test_a_worker_aligns_all_that_meets_or_it_does_not(views, clicks, counts, aligned):
    assigned = {"views": views, "clicks": clicks}

    assert is_aligned(assigned, dict(zip(assigned, counts, strict=True)), num_outputs=4) is aligned
