"""Whatever cannot be used ends as a dead letter or is counted as a duplicate, and nothing else stops."""

from collections import Counter

import msgspec
import pytest

from stream.dead_letters import MAX_ORIGINAL_BYTES
from stream.events import MAX_EVENT_BYTES, encode
from stream.play.producer import EventRecord, record_of
from tests.system.pipeline import BurstShop, Pipeline, click_on

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

GOOD_ROWS = 40
STAGES = ("stream", "scorer", "evaluator", "trainer")


def bad_records(shop: BurstShop) -> list[EventRecord]:
    """Return records that no join can read, with what their sender calls them."""
    whole = encode(shop.impression())
    future = msgspec.structs.replace(shop.impression(), schema_version=99)
    large = shop.impression(item_text="red shoe " * (MAX_EVENT_BYTES // 8))
    huge = shop.impression(item_text="x" * (MAX_ORIGINAL_BYTES + 100_000))
    values = [
        ("malformed", whole[: len(whole) // 2]),
        ("malformed", b"\xff\xfe\x00 not text"),
        ("malformed", b'{"type":"purchase_order","id":12}'),
        ("unknown_version", encode(future)),
        ("oversized", encode(large)),
        ("oversized", encode(huge)),
    ]
    time_ms = shop.impression().event_time_ms
    return [
        EventRecord(kind=kind, key=f"bad-{index}".encode(), value=value, event_time_ms=time_ms)
        for index, (kind, value) in enumerate(values)
    ]


def send_duplicates(shop: BurstShop) -> None:
    """Send an impression and its click three times each."""
    impression = shop.impression(item_text="red scarf")
    click = click_on(impression)
    shop.send(record_of(impression, "impression"))
    shop.send(record_of(click, "click"))
    for _ in range(2):
        shop.send(record_of(impression, "repeated_impression"))
        shop.send(record_of(click, "repeated_click"))


def send_stray_clicks(shop: BurstShop) -> None:
    """Send a click on nothing, and one a minute after its impression."""
    shop.send(record_of(click_on(shop.impression(), name="orphan"), "orphaned_click"))
    impression = shop.impression(item_text="red hat")
    shop.send(record_of(impression, "impression"))
    shop.send(record_of(click_on(impression, name="late", after_ms=60_000), "late_click"))
    shop.pass_time(seconds=60)


@pytest.fixture(scope="module")
def run(pipeline: Pipeline, shop: BurstShop) -> Pipeline:
    """Bad records between good ones, at every stage that reads."""
    pipeline.command("models", "init")
    shop.show(GOOD_ROWS)
    for record in bad_records(shop):
        shop.send(record)
    send_duplicates(shop)
    send_stray_clicks(shop)
    pipeline.write("labeled-impressions", 0, [b"{no label"])
    pipeline.write("weighted-examples", 1, [b"not Arrow"])
    pipeline.start(*STAGES)
    pipeline.drain()
    shop.show(GOOD_ROWS)
    shop.close()
    pipeline.drain()
    return pipeline


@pytest.fixture(scope="module")
def letters(run: Pipeline):
    """Every dead letter: its headers without their prefix, and its value."""
    return [
        ({name.removeprefix("millstream."): value.decode() for name, value in record.headers.items()}, record.value)
        for record in run.records("dead-letters")
    ]


def test_the_audit_is_exact_against_the_producers_ledger(run: Pipeline, shop: BurstShop):
    report = run.audit(shop.ledger)
    assert report.problems == ()
    # The good rows, the one that was repeated and the one that was clicked late.
    assert report.impressions == report.labeled == report.scored == 2 * GOOD_ROWS + 2
    assert report.trained + report.sampled_out == report.scored
    assert (report.dead_lettered, report.duplicates) == (6, 4)
    assert (report.late_clicks, report.orphaned_clicks) == (1, 1)
    assert report.dead_lettered_later == 2


def test_each_bad_record_is_one_dead_letter_of_its_reason_and_stage(letters):
    assert Counter((headers["stage"], headers["reason"]) for headers, _ in letters) == {
        ("join", "malformed"): 3,
        ("join", "unknown_version"): 1,
        ("join", "oversized"): 2,
        ("join", "late_click"): 1,
        ("join", "orphaned_click"): 1,
        ("scorer", "malformed"): 1,
        ("trainer", "malformed"): 1,
    }


def test_a_dead_letter_names_where_its_record_stands(run: Pipeline, letters):
    topic = f"{run.kafka.topic_prefix}events"
    places = {(record.partition, record.offset): record.value for record in run.records("events")}
    from_events = [(headers, value) for headers, value in letters if headers["topic"] == topic]
    assert len(from_events) == 8
    for headers, value in from_events:
        assert headers["message"]
        original = places[int(headers["partition"]), int(headers["offset"])]
        assert original.startswith(value)
        assert int(headers.get("truncated", len(value))) == len(original)


def test_only_a_letter_that_is_too_large_to_send_is_cut(letters):
    cut = [(headers, value) for headers, value in letters if "truncated" in headers]
    assert [(headers["reason"], len(value)) for headers, value in cut] == [("oversized", MAX_ORIGINAL_BYTES)]
    assert len(cut[0][0]["sha256"]) == 64


def test_every_process_counts_what_it_refused_and_runs_on(run: Pipeline):
    assert run.metric("stream", "millstream_stream_dead_letters_total", reason="malformed") == 3
    assert run.metric("stream", "millstream_stream_dead_letters_total", reason="oversized") == 2
    assert run.metric("stream", "millstream_stream_repeats_total", type="impression") == 2
    assert run.metric("stream", "millstream_stream_repeats_total", type="click") == 2
    assert run.metric("scorer", "millstream_scorer_dead_letters_total", reason="malformed") == 1
    assert run.metric("trainer", "millstream_trainer_unreadable_records_total", reason="malformed") == 1
    run.wait_for("evaluator", "millstream_evaluator_unusable_records_total", 1)
    run.wait_for("evaluator", "millstream_evaluator_distinct_rows", 2 * GOOD_ROWS + 2)
    run.stop(*STAGES)
