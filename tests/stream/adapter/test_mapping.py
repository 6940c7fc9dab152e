import json
from pathlib import Path

import msgspec
import pytest

from stream.adapter.mapping import Mapping, Source, read_mapping
from stream.events import Click, EventError, Impression

FILE = """
[[source]]
topic = "shop.views"
event = "impression"
time_unit = "iso8601"
where = { "type" = "view" }
[source.fields]
impression_id = "view.id"
event_time_ms = "at"
item_id = "view.product.sku"
item_text = "view.product.titles.0"
history = "recent.*.title"
"numeric.price" = "view.product.price"
[source.constants]
query = "shoes"

[[source]]
topic = "shop.actions"
event = "click"
time_unit = "s"
[source.fields]
click_id = "$record"
impression_id = "view"
event_time_ms = "ts"
kind = "what"
[source.values.kind]
open = "click"
basket = "cart"
"""
VIEW = {
    "type": "view",
    "at": "2026-01-02T03:04:05.678+01:00",
    "view": {"id": 77, "product": {"sku": 5, "titles": ["red shoe", "shoe"], "price": 9.5}},
    "recent": [{"title": "blue hat"}, {"title": "lamp"}],
}
ACTION = {"view": 77, "ts": 1767319446.25, "what": "basket"}


@pytest.fixture
def sources(tmp_path: Path) -> list[Source]:
    path = tmp_path / "mapping.toml"
    path.write_text(FILE)
    return read_mapping(path)


def adapt(source: Source, document: object) -> Impression | Click | None:
    return Mapping([source]).adapt(json.dumps(document).encode(), "shop.actions-1-9")


def test_a_foreign_view_becomes_an_impression(sources):
    assert adapt(sources[0], VIEW) == Impression(
        impression_id="77",
        event_time_ms=1_767_319_445_678,
        item_id="5",
        item_text="red shoe",
        query="shoes",
        history=("blue hat", "lamp"),
        numeric={"price": 9.5},
    )


def test_a_foreign_action_becomes_a_click(sources):
    assert adapt(sources[1], ACTION) == Click(
        click_id="shop.actions-1-9", impression_id="77", event_time_ms=1_767_319_446_250, kind="cart"
    )


def test_a_record_that_no_source_wants_is_skipped(sources):
    assert adapt(sources[0], VIEW | {"type": "scroll"}) is None


def test_an_optional_field_that_is_absent_keeps_its_default(sources):
    assert adapt(sources[0], {key: value for key, value in VIEW.items() if key != "recent"}).history == ()


@pytest.mark.parametrize(
    ("unit", "value"), [("s", 1_767_319_446), ("ms", "1767319446000"), ("us", 1_767_319_446_000_000)]
)
def test_time_units(sources, unit, value):
    source = msgspec.structs.replace(sources[1], time_unit=unit)
    assert adapt(source, ACTION | {"ts": value}).event_time_ms == 1_767_319_446_000


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ({key: value for key, value in ACTION.items() if key != "view"}, "unmappable"),
        (ACTION | {"ts": "yesterday"}, "unmappable"),
        (ACTION | {"what": "dance"}, "unmappable"),
        (ACTION | {"view": "x" * 300}, "unmappable"),
        ([1, 2], "unmappable"),
    ],
)
def test_a_record_that_cannot_be_mapped_says_why(sources, document, reason):
    with pytest.raises(EventError) as caught:
        adapt(sources[1], document)
    assert caught.value.reason == reason


@pytest.mark.parametrize(("raw", "reason"), [(None, "empty"), (b"{", "malformed"), (b"\xff", "malformed")])
def test_bytes_that_are_no_json(sources, raw, reason):
    with pytest.raises(EventError) as caught:
        Mapping(sources[1:]).adapt(raw, "r")
    assert caught.value.reason == reason


def test_a_text_too_long_for_an_event_is_oversized(sources):
    product = VIEW["view"]["product"] | {"titles": ["x" * 70_000]}
    with pytest.raises(EventError) as caught:
        adapt(sources[0], VIEW | {"view": VIEW["view"] | {"product": product}})
    assert caught.value.reason == "oversized"


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ('kind = "what"', 'colour = "what"', "click field 'colour' does not exist"),
        ('impression_id = "view"\n', "", "click field 'impression_id' is not mapped"),
        ('time_unit = "s"', 'time_unit = "h"', "is not a mapping"),
        ("[[source]]", "[[sorcery]]", "is not a mapping"),
    ],
)
def test_a_wrong_mapping_file_is_refused_with_the_field(tmp_path, before, after, message):
    path = tmp_path / "mapping.toml"
    path.write_text(FILE.replace(before, after))
    with pytest.raises(ValueError, match=message):
        read_mapping(path)


def test_a_missing_mapping_file_says_what_to_set(tmp_path):
    with pytest.raises(ValueError, match="MILLSTREAM_ADAPTER_MAPPING"):
        read_mapping(tmp_path / "none.toml")


VIEW_SOURCE = Source(
    topic="shop.views",
    event="impression",
    fields={
        "impression_id": "id",
        "event_time_ms": "ts",
        "item_id": "sku",
        "item_text": "title",
        "history": "seen",
        "position": "place",
        "numeric.stock": "stock",
    },
)
PLAIN_VIEW = {"id": "v1", "ts": 1_767_319_446_000, "sku": "s", "title": "red shoe"}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "true"),
        (False, "false"),
        (77, "77"),
        (77.0, "77"),
        (-0.5, "-0.5"),
        (123456789012345678901234567890, "123456789012345678901234567890"),
        ("", ""),
    ],
)
def test_a_text_is_what_json_writes(value, text):
    assert adapt(VIEW_SOURCE, PLAIN_VIEW | {"sku": value}).item_id == text


@pytest.mark.parametrize(
    ("value", "number"), [(True, 1.0), (False, 0.0), (3, 3.0), ("9.5", 9.5), (10**30, 1e30), (-1.5, -1.5)]
)
def test_a_numeric_feature_is_a_number_a_numeric_text_or_a_boolean(value, number):
    assert adapt(VIEW_SOURCE, PLAIN_VIEW | {"stock": value}).numeric == {"stock": number}


def test_booleans_are_mapped_by_how_json_writes_them():
    source = msgspec.structs.replace(VIEW_SOURCE, values={"item_text": {"true": "sale", "false": "regular"}})

    assert adapt(source, PLAIN_VIEW | {"title": True}).item_text == "sale"
    assert adapt(source, PLAIN_VIEW | {"title": False}).item_text == "regular"


@pytest.mark.parametrize(
    ("wanted", "found", "taken"),
    [(True, True, True), (True, 1, False), (1, True, False), (False, 0, False), (1, 1.0, True), (True, "true", False)],
)
def test_a_condition_tells_true_from_one(wanted, found, taken):
    source = msgspec.structs.replace(VIEW_SOURCE, where={"shown": wanted})

    assert (adapt(source, PLAIN_VIEW | {"shown": found}) is not None) is taken


@pytest.mark.parametrize(
    ("field", "value", "name"),
    [
        ("ts", True, "event_time_ms"),
        ("ts", 1_767_319_446, "event_time_ms"),
        ("ts", 1_767_319_446_000_000, "event_time_ms"),
        ("ts", "nan", "event_time_ms"),
        ("ts", "1_767_319_446_000", "event_time_ms"),
        ("ts", [1_767_319_446_000], "event_time_ms"),
        ("ts", 10**400, "event_time_ms"),
        ("id", ["v1"], "impression_id"),
        ("id", {"v": 1}, "impression_id"),
        ("id", 1.2345678901234567e25, "impression_id"),
        ("title", ["red", "shoe"], "item_text"),
        ("seen", [{"title": "hat"}], "history"),
        ("seen", [["hat"]], "history"),
        ("seen", "hat", "history"),
        ("place", True, "position"),
        ("place", 2.5, "position"),
        ("stock", "nan", "numeric.stock"),
        ("stock", "inf", "numeric.stock"),
        ("stock", "null", "numeric.stock"),
        ("stock", "many", "numeric.stock"),
        ("stock", [1], "numeric.stock"),
        ("stock", 10**400, "numeric.stock"),
    ],
)
def test_a_value_that_a_field_cannot_hold_is_a_dead_letter_that_names_the_field(field, value, name):
    with pytest.raises(EventError) as caught:
        adapt(VIEW_SOURCE, PLAIN_VIEW | {field: value})
    assert caught.value.reason in {"unmappable", "malformed"}
    assert name in str(caught.value) or caught.value.reason == "malformed"
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("constants", {"kind": "dance"}),
        ("constants", {"kind": True}),
        ("values", {"kind": {"open": "dance"}}),
        ("constants", {"event_time_ms": 1}),
    ],
)
def test_a_value_in_the_file_that_no_event_can_hold_is_refused_at_start(tmp_path, given, message):
    [(name, value)] = message.items()
    written = f"{{ open = '{value['open']}' }}" if isinstance(value, dict) else str(value).lower()
    written = f"'{written}'" if isinstance(value, str) else written
    path = tmp_path / "mapping.toml"
    fields = "click_id = 'a', impression_id = 'b'" + (", event_time_ms = 'c'" if name != "event_time_ms" else "")
    path.write_text(
        f"[[source]]\ntopic = 't'\nevent = 'click'\nfields = {{ {fields} }}\n{given} = {{ {name} = {written} }}\n"
    )

    with pytest.raises(ValueError, match=f"click field '{name}'"):
        read_mapping(path)


def test_a_numeric_constant_reaches_the_event():
    source = msgspec.structs.replace(VIEW_SOURCE, constants={"numeric.shop": 3})

    assert adapt(source, PLAIN_VIEW).numeric == {"shop": 3.0}


@pytest.mark.parametrize("digits", [400, 4_000, 5_000, 60_000])
def test_a_number_of_any_length_as_an_id_is_a_dead_letter(digits):
    raw = json.dumps(PLAIN_VIEW | {"id": "ID"}).replace('"ID"', "7" * digits).encode()

    with pytest.raises(EventError):
        Mapping([VIEW_SOURCE]).adapt(raw, "r")
