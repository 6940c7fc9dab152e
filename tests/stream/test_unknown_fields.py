from collections import Counter

import msgspec
import pytest
from structlog.testing import capture_logs

from stream.events import Click, Impression, decode_event, encode
from stream.unknown_fields import UnknownFields, hint

IMPRESSION = Impression(impression_id="i", event_time_ms=1_700_000_000_000, item_id="a", item_text="hat")
CLICK = Click(click_id="c", impression_id="i", event_time_ms=1_700_000_000_000)


def with_fields(event, **fields):
    return msgspec.json.encode(msgspec.json.decode(encode(event)) | fields)


@pytest.fixture
def counted():
    return Counter()


@pytest.fixture
def fields(counted):
    return UnknownFields(lambda: counted.update(["event"]))


def look(fields, raw):
    with capture_logs() as logs:
        fields.look(decode_event(raw), raw)
    return [(line["event_type"], line["field"], line["what"]) for line in logs]


@pytest.mark.parametrize("event", [IMPRESSION, CLICK])
def test_fields_of_ours_are_passed_in_silence(fields, counted, event):
    assert look(fields, encode(event)) == []
    assert counted["event"] == 0


def test_an_unknown_field_is_said_once_with_the_nearest_name_and_counted_every_time(fields, counted):
    raw = with_fields(IMPRESSION, querry="red hat")
    assert look(fields, raw) == [("impression", "querry", "nobody reads it; did you mean query?")]
    assert look(fields, raw) == []
    assert counted["event"] == 2


def test_a_field_of_the_other_type_is_unknown(fields):
    assert look(fields, with_fields(CLICK, query="hat")) == [("click", "query", "nobody reads it")]


def test_a_producer_that_makes_up_names_fills_neither_log_nor_memory(fields):
    raw = with_fields(CLICK, **{f"made-up-{number}": 1 for number in range(1_000)})
    assert len(look(fields, raw)) == 100
    assert look(fields, with_fields(CLICK, another=1)) == []


@pytest.mark.parametrize(("name", "question"), [("topp", "; did you mean top?"), ("zzz", "")])
def test_the_hint_is_the_nearest_name_or_nothing(name, question):
    assert hint(name, {"top", "items"}) == question
