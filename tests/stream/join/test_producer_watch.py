from collections import Counter

import pytest
from aiokafka.partitioner import murmur2

from stream.events import Click, Impression, LabeledImpression
from stream.join.label_join import Label, LostClick
from stream.join.producer_watch import ProducerWatch, mistake_in

T0 = 1_700_000_000_000
DAY_MS = 86_400_000
NUM_PARTITIONS = 4


def impression(number: int, time_ms: int = T0) -> Impression:
    return Impression(impression_id=f"i{number}", event_time_ms=time_ms, item_id="x", item_text="red shoe")


def home(key: bytes) -> int:
    """Partition as the other client computes it."""
    return (murmur2(key) & 0x7FFFFFFF) % NUM_PARTITIONS


def click(number: int) -> Click:
    return Click(click_id=f"c{number}", impression_id=f"i{number}", event_time_ms=T0)


def joined(number: int) -> Label:
    labeled = LabeledImpression(
        impression=impression(number),
        label=1,
        click_ids=(f"c{number}",),
        label_due_ms=T0,
        source_partition=0,
        source_offset=number,
    )
    return Label(labeled, (number,))


def orphan(number: int) -> LostClick:
    return LostClick(click(number), number, "orphaned_click")


@pytest.mark.parametrize("key", [b"i1", b"4f1c2d3e-aaaa", "größe".encode(), b""])
def test_a_record_where_murmur2_puts_it_is_right_and_elsewhere_it_is_not(key):
    for partition in range(NUM_PARTITIONS):
        found = mistake_in(impression(1), key, partition, NUM_PARTITIONS, T0)
        assert found == (None if partition == home(key) else "partition")


def test_a_record_without_a_key_is_a_mistake():
    assert mistake_in(impression(1), None, 0, NUM_PARTITIONS, T0) == "no_key"


@pytest.mark.parametrize(("age_ms", "mistake"), [(0, None), (DAY_MS, None), (DAY_MS + 1, "old_time"), (-5_000, None)])
def test_an_event_time_far_before_its_record_is_a_mistake(age_ms, mistake):
    assert mistake_in(impression(1, T0 - age_ms), b"i1", home(b"i1"), NUM_PARTITIONS, T0) == mistake


def test_a_sample_is_counted_and_said_once_a_minute():
    counted: Counter = Counter()
    watch = ProducerWatch(NUM_PARTITIONS, lambda mistake: counted.update([mistake]))
    assert watch.findings(0.0) == []
    for offset in range(160):
        watch.look(impression(offset), b"i", (home(b"i") + 1) % NUM_PARTITIONS, offset, T0)

    assert counted == {"partition": 10}
    assert watch.findings(59.0) == []
    [line] = watch.findings(60.0)
    assert line.startswith("10 of 10 events looked at lie on another partition")
    assert "murmur2_random" in line
    assert watch.findings(120.0) == []


@pytest.mark.parametrize(("orphans", "joins", "said"), [(30, 70, True), (10, 90, False), (30, 10, False)])
def test_a_large_share_of_orphans_among_enough_clicks_is_said(orphans, joins, said):
    watch = ProducerWatch(NUM_PARTITIONS, lambda _: None)
    watch.settle(map(orphan, range(orphans)))
    watch.settle(map(joined, range(joins)))

    lines = watch.findings(0.0)

    assert bool(lines) is said
    assert all(f"{orphans} of {orphans + joins} clicks found no impression" in line for line in lines)
