from collections import Counter

import pytest

from stream.events import Click, EventError, Impression, decode_event
from stream.play.producer import EventRecord
from stream.simulator.junk import Junk
from stream.simulator.settings import ShopSettings

IMPRESSION = Impression(impression_id="i1", event_time_ms=1_700_000_000_000, item_id="x", item_text="red hat")


def junk(num_impressions: int = 20_000, **settings: float) -> list[EventRecord]:
    source = Junk(ShopSettings(**settings), "run")
    return [record for _ in range(num_impressions) for record in source.beside(IMPRESSION)]


@pytest.mark.parametrize("reason", ["malformed", "unknown_version", "oversized"])
def test_undecodable_records_are_undecodable_for_the_reason_they_name(reason):
    records = [record for record in junk(5_000, **{f"{reason}_share": 0.02}) if record.kind == reason]
    assert len(records) > 50
    for record in records:
        with pytest.raises(EventError) as caught:
            decode_event(record.value)
        assert caught.value.reason == reason


def test_junk_comes_at_the_shares_asked_for():
    kinds = Counter(record.kind for record in junk(orphaned_share=0.01, oversized_share=0))
    assert kinds["orphaned_click"] == pytest.approx(200, abs=50)
    assert kinds["malformed"] == pytest.approx(20, abs=15)
    assert kinds["oversized"] == 0


def test_an_orphaned_click_names_an_impression_that_never_was():
    clicks = [decode_event(record.value) for record in junk(orphaned_share=0.01) if record.kind == "orphaned_click"]
    assert all(isinstance(click, Click) for click in clicks)
    assert len({click.impression_id for click in clicks}) == len(clicks)


def test_junk_fits_into_a_kafka_record():
    assert max(len(record.value) for record in junk(oversized_share=0.01)) < 1_000_000
