import random

import pytest

from stream.events import Impression, LabeledImpression
from stream.first_copies import FirstCopies

T0 = 1_700_000_000_000


def labeled(name: str, *, second: float = 0.0, offset: int = 0, partition: int = 0, revision: int = 0):
    shown = Impression(impression_id=name, event_time_ms=T0 + int(second * 1000), item_id="x", item_text="red shoe")
    return LabeledImpression(
        impression=shown,
        label=0,
        label_due_ms=T0,
        source_partition=partition,
        source_offset=offset,
        revision=revision,
    )


def test_the_first_copy_is_new_and_the_second_a_repeat():
    copies = FirstCopies()
    assert [copies.observe(labeled("a", offset=offset)) for offset in (0, 0, 5)] == ["new", "repeat", "repeat"]


def test_a_new_id_below_the_high_water_mark_is_new():
    copies = FirstCopies()
    copies.observe(labeled("b", offset=9))
    assert copies.observe(labeled("a", offset=3)) == "new"


def test_a_new_id_beyond_the_horizon_is_late():
    copies = FirstCopies(horizon_seconds=60)
    copies.observe(labeled("b", second=100, offset=1))
    assert copies.observe(labeled("a", second=39, offset=2)) == "late"


def test_an_id_beyond_the_horizon_at_a_passed_offset_is_a_repeat():
    copies = FirstCopies(horizon_seconds=60)
    copies.observe(labeled("a", second=0, offset=1))
    copies.observe(labeled("b", second=100, offset=2))
    assert copies.observe(labeled("a", second=0, offset=1)) == "repeat"


def test_partitions_and_revisions_are_apart():
    copies = FirstCopies()
    copies.observe(labeled("a"))
    assert copies.observe(labeled("a", revision=1)) == "new"
    assert copies.observe(labeled("a", partition=1)) == "new"


def test_memory_is_bounded_by_the_horizon():
    copies = FirstCopies(horizon_seconds=60)
    for second in range(1000):
        copies.observe(labeled(f"i{second}", second=second, offset=second))
    assert len(copies) <= 67


@pytest.mark.parametrize("seed", range(5))
def test_a_restored_snapshot_answers_as_the_original_would(seed):
    dice = random.Random(seed)
    rows = [
        labeled(f"i{dice.randrange(200)}", second=k + dice.randrange(40), offset=dice.randrange(k + 1), partition=k % 2)
        for k in range(600)
    ]
    original = FirstCopies(horizon_seconds=30)
    for row in rows[:300]:
        original.observe(row)
    restored = FirstCopies.restore(original.snapshot(), horizon_seconds=30)
    assert [restored.observe(row) for row in rows[300:]] == [original.observe(row) for row in rows[300:]]
