import random

import pytest

from stream.events import Impression, LabeledImpression
from stream.first_copies import FirstCopies

T0 = 1_700_000_000_000


def labeled(
    name: str,
    *,
    second: float = 0.0,
    offset: int = 0,
    partition: int = 0,
    revision: int = 0,
    clicked: float | None = None,
):
    shown = Impression(impression_id=name, event_time_ms=T0 + int(second * 1000), item_id="x", item_text="red shoe")
    return LabeledImpression(
        impression=shown,
        label=0,
        label_due_ms=T0 if clicked is None else T0 + int(clicked * 1000),
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


def test_a_revision_is_as_old_as_its_click_however_old_its_impression():
    copies = FirstCopies(horizon_seconds=60)
    copies.observe(labeled("b", second=1_000, offset=8))
    copies.observe(labeled("b", second=1_000, offset=9, revision=1, clicked=1_001))
    assert copies.observe(labeled("a", second=0, offset=10, revision=1, clicked=1_002)) == "new"
    assert copies.observe(labeled("a", second=0, offset=10, revision=1, clicked=1_002)) == "repeat"


def test_a_revision_of_a_click_that_is_sent_again_beyond_the_horizon_is_not_new():
    copies = FirstCopies(horizon_seconds=60)
    copies.observe(labeled("a", second=0, offset=1, revision=1, clicked=1))
    copies.observe(labeled("b", second=900, offset=5, revision=1, clicked=1_000))
    assert copies.observe(labeled("a", second=0, offset=9, revision=1, clicked=1)) == "late"


def test_offsets_that_first_labels_have_passed_are_not_passed_by_revisions():
    copies = FirstCopies(horizon_seconds=60)
    copies.observe(labeled("c", second=900, offset=1, revision=1, clicked=1_000))
    copies.observe(labeled("a", second=0, offset=7))
    assert copies.observe(labeled("a", second=0, offset=7, revision=1, clicked=1)) == "late"


@pytest.mark.parametrize("position", [0, 4])
def test_what_a_restarted_join_sends_again_is_a_repeat_at_either_revision(position):
    # Impressions and the clicks on them, a minute apart; a window of an hour is open for all of them at the restart.
    sent = [labeled(f"i{k}", second=60 * k, offset=k) for k in range(10)]
    sent[5:5] = [labeled("i1", second=60, offset=4, revision=1, clicked=280)]
    sent += [labeled("i0", second=0, offset=11, revision=1, clicked=660)]
    copies = FirstCopies(horizon_seconds=120)
    assert [copies.observe(row) for row in sent] == ["new"] * len(sent)
    restored = FirstCopies.restore(copies.snapshot(), horizon_seconds=120)
    assert {restored.observe(row) for row in sent[position:]} == {"repeat"}


def test_a_snapshot_from_before_revisions_is_one_of_first_labels():
    copies = FirstCopies()
    copies.observe(labeled("a", offset=3, partition=1))
    old = {name: array for name, array in copies.snapshot().items() if "revisions" not in name}
    restored = FirstCopies.restore(old)
    assert restored.observe(labeled("a", offset=3, partition=1)) == "repeat"
    assert restored.observe(labeled("a", offset=4, partition=1, revision=1, clicked=1)) == "new"


def test_memory_is_bounded_by_the_horizon():
    copies = FirstCopies(horizon_seconds=60)
    for second in range(1000):
        copies.observe(labeled(f"i{second}", second=second, offset=second))
    assert len(copies) <= 67


@pytest.mark.parametrize("seed", range(5))
def test_a_restored_snapshot_answers_as_the_original_would(seed):
    dice = random.Random(seed)
    rows = [
        labeled(
            f"i{dice.randrange(200)}",
            second=k + dice.randrange(40),
            offset=dice.randrange(k + 1),
            partition=k % 2,
            revision=revision,
            clicked=k + dice.randrange(50) if revision else None,
        )
        for k, revision in enumerate(dice.choices((0, 1), (3, 1), k=600))
    ]
    original = FirstCopies(horizon_seconds=30)
    for row in rows[:300]:
        original.observe(row)
    restored = FirstCopies.restore(original.snapshot(), horizon_seconds=30)
    assert [restored.observe(row) for row in rows[300:]] == [original.observe(row) for row in rows[300:]]
