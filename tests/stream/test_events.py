import pytest

from stream.events import (
    MAX_EVENT_BYTES,
    Click,
    EventError,
    Impression,
    LabeledImpression,
    ModelRelease,
    decode_event,
    decode_labeled,
    decode_release,
    encode,
)

SHOWN = Impression(impression_id="a", event_time_ms=1_700_000_000_000, item_id="x", item_text="red shoe")
CLICK = Click(click_id="k", impression_id="a", event_time_ms=1_700_000_000_000)
LABELED = LabeledImpression(impression=SHOWN, label=0, label_due_ms=1, source_partition=0, source_offset=0)
RELEASE = ModelRelease(
    alias="champion", version="v", digest="d", location="file:///r", reason="initialised", created_ms=1
)


def reason(decode, raw: bytes | None) -> str:
    with pytest.raises(EventError) as caught:
        decode(raw)
    return caught.value.reason


@pytest.mark.parametrize("event", [SHOWN, CLICK])
def test_impressions_and_clicks_are_told_apart_by_their_tag(event):
    assert decode_event(encode(event)) == event


@pytest.mark.parametrize("raw", [None, b""])
def test_a_record_without_a_value_is_empty(raw):
    assert reason(decode_event, raw) == "empty"


def test_a_record_above_the_bound_is_oversized_before_it_is_decoded():
    assert reason(decode_event, b"{" * (MAX_EVENT_BYTES + 1)) == "oversized"


@pytest.mark.parametrize(
    "raw",
    [
        b"null",
        b"{",
        b"\xff\xfe",
        b'{"type":"view"}',
        encode(CLICK).replace(b'"click_id":"k"', b'"click_id":""'),
        encode(CLICK).replace(b'"kind":"click"', b'"kind":"hover"'),
        encode(CLICK).replace(b"1700000000000", b"-5"),
        encode(SHOWN).replace(b'"position":0', b'"position":-1'),
        encode(SHOWN).replace(b'"impression_id":"a"', b'"impression_id":"' + b"a" * 201 + b'"'),
        encode(SHOWN).replace(b'"numeric":{}', b'"numeric":{"price":NaN}'),
    ],
)
def test_bytes_that_are_no_event_are_malformed(raw):
    assert reason(decode_event, raw) == "malformed"


@pytest.mark.parametrize("version", [b"0", b"2"])
@pytest.mark.parametrize(
    ("decode", "event"), [(decode_event, SHOWN), (decode_labeled, LABELED), (decode_release, RELEASE)]
)
def test_an_unknown_version_is_refused_by_name(decode, event, version):
    raw = encode(event)
    tail = raw.rfind(b'"schema_version":1')
    changed = raw[:tail] + raw[tail:].replace(b'"schema_version":1', b'"schema_version":' + version)
    assert reason(decode, changed) == "unknown_version"


@pytest.mark.parametrize("decode", [decode_labeled, decode_release])
def test_a_record_of_another_kind_is_malformed(decode):
    assert reason(decode, b"{}") == "malformed"
    assert reason(decode, None) == "malformed"
