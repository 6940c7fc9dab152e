"""The mapping file: how a foreign JSON record becomes an impression or a click."""

from collections.abc import Iterable
from datetime import UTC, datetime
from math import isfinite
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import Struct

from stream.codec import UndecodableError, decoded
from stream.events import MAX_EVENT_BYTES, OLDEST_MS, Click, EventError, Impression, encode

TimeUnit = Literal["s", "ms", "us", "iso8601"]

RECORD_ID = "$record"
"""A path that stands for `<topic>-<partition>-<offset>`: an id for click streams that have none."""

_EVENTS: dict[str, type[Impression] | type[Click]] = {"impression": Impression, "click": Click}
_TEXTS = frozenset({"impression_id", "click_id", "item_id", "item_text", "query", "user_id", "kind"})
_NUMERIC = "numeric."
_MS_PER_UNIT = {"s": 1000.0, "ms": 1.0, "us": 0.001}
_NEWEST_MS = 10**13
"""The year 2286: what lies beyond is a time in another unit, as what lies before `OLDEST_MS` is."""
_MAX_EXACT = 2**53
_MAX_SHOWN = 60


class Source(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How records of one foreign topic become events of one type.

    Attributes:
        topic: Full name of the foreign topic.
        event: What its records become.
        fields: Path in the foreign record by our field's name (`numeric.price` for a numeric feature). Segments are
            separated by dots; a number picks an element of a list, `*` all of them.
        constants: Values by our field's name, the same for every record.
        values: By our field's name, our value by the foreign one.
        where: Value that a path must have; records that differ are skipped.
        time_unit: Unit of the event time.
    """

    topic: str
    event: Literal["impression", "click"]
    fields: dict[str, str]
    constants: dict[str, Any] = {}
    values: dict[str, dict[str, Any]] = {}
    where: dict[str, Any] = {}
    time_unit: TimeUnit = "ms"


class _MappingFile(Struct, forbid_unknown_fields=True):
    source: list[Source]


def read_mapping(path: Path) -> list[Source]:
    """Return the sources of a mapping file.

    Raises:
        ValueError: if the file is missing, is not TOML, or maps a field that does not exist or lacks one we need.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        message = f"mapping file {path} cannot be read ({error.strerror}); set MILLSTREAM_ADAPTER_MAPPING to yours"
        raise ValueError(message) from error
    file = decoded(raw, lambda raw: msgspec.toml.decode(raw, type=_MappingFile), "a mapping", f"mapping file {path}")
    sources = file.source
    for source in sources:
        _check(source, path)
    return sources


class Mapping:
    """Turns foreign records of one topic into events.

    Args:
        sources: The sources of that topic; the first whose `where` a record meets takes it.
    """

    def __init__(self, sources: Iterable[Source]) -> None:
        self._sources = tuple(sources)

    def adapt(self, raw: bytes | None, record_id: str) -> Impression | Click | None:
        """Return the event in a foreign record, None if no source wants it.

        Raises:
            EventError: with reason empty, malformed, unmappable or oversized.
        """
        if not raw:
            raise EventError("empty", "the record has no value")
        try:
            document = decoded(raw, msgspec.json.decode, "JSON")
        except UndecodableError as error:
            raise EventError("malformed", str(error)) from error
        try:
            return self._event(document, record_id)
        except RecursionError as error:
            raise EventError("unmappable", "a mapped value is nested too deeply to be text") from error

    def _event(self, document: Any, record_id: str) -> Impression | Click | None:
        for source in self._sources:
            if all(_same(_find(document, path.split(".")), value) for path, value in source.where.items()):
                return _event(source, document, record_id)
        return None


def _event(source: Source, document: Any, record_id: str) -> Impression | Click:
    found = {
        name: record_id if path == RECORD_ID else _find(document, path.split("."))
        for name, path in source.fields.items()
    }
    row: dict[str, Any] = {}
    for name, foreign in (source.constants | found).items():
        value = source.values.get(name, {}).get(_key(foreign), foreign)
        if value is None:
            continue
        converted = _convert(source, name, value)
        if name.startswith(_NUMERIC):
            row.setdefault("numeric", {})[name.removeprefix(_NUMERIC)] = converted
        else:
            row[name] = converted
    try:
        event: Impression | Click = msgspec.convert(row, _EVENTS[source.event], strict=False)
    except msgspec.ValidationError as error:
        raise EventError("unmappable", f"{source.event} of topic {source.topic}: {error}") from error
    if (size := len(encode(event))) > MAX_EVENT_BYTES:
        raise EventError("oversized", f"the event has {size} bytes, more than {MAX_EVENT_BYTES}; shorten its texts")
    return event


def _convert(source: Source, name: str, value: Any) -> Any:
    if name == "event_time_ms":
        return _epoch_ms(value, source.time_unit)
    if name.startswith(_NUMERIC):
        return _number(name, value)
    if name == "history" and isinstance(value, list):
        return [_text(name, text) for text in value if text is not None]
    return _text(name, value) if name in _TEXTS else value


def _text(name: str, value: Any) -> str:
    """Return a text; shops number their items and pages, and here ids are text. Numbers stand as JSON writes them."""
    if isinstance(value, float) and value.is_integer():
        if abs(value) > _MAX_EXACT:
            raise EventError("unmappable", f"{name} {value!r} is a number that has lost digits; send it as text")
        value = int(value)  # a table that knows missing numbers makes 77.0 of 77: it is the same id
    if not isinstance(value, str | bool | int | float):
        raise EventError("unmappable", f"{name} must be a text, a number or a boolean, not {_kind_of(value)}")
    return value if isinstance(value, str) else _key(value)


def _number(name: str, value: Any) -> float:
    """Return a numeric feature; a boolean is 0 or 1."""
    try:
        number = msgspec.convert(int(value) if isinstance(value, bool) else value, float, strict=False)
    except (msgspec.ValidationError, OverflowError) as error:
        raise EventError("unmappable", f"{name} {_shown(value)} is not a number: {error}") from error
    if not isfinite(number):
        raise EventError(
            "unmappable", f"{name} {_shown(value)} is not a finite number; leave it out where it is missing"
        )
    return number


def _key(value: Any) -> str:
    """Return a value as JSON writes it; a text without its quotes."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _same(found: Any, wanted: Any) -> bool:
    """Return whether two values are one in JSON, where true is not 1."""
    return isinstance(found, bool) == isinstance(wanted, bool) and bool(found == wanted)


def _kind_of(value: Any) -> str:
    return "a list" if isinstance(value, list) else "an object"


def _shown(value: Any) -> str:
    """Return a value short enough for an error."""
    text = repr(value)
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."


def _epoch_ms(value: Any, unit: TimeUnit) -> int:
    try:
        if unit == "iso8601":
            time = datetime.fromisoformat(value)
            epoch_ms = round((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp() * 1000)
        else:
            # Not float(): it takes a boolean for 0 or 1, and "1_000" for a thousand.
            epoch_ms = round(msgspec.convert(value, float, strict=False) * _MS_PER_UNIT[unit])
    except (TypeError, ValueError, OverflowError) as error:
        raise EventError("unmappable", f"event_time_ms {_shown(value)} is not in unit {unit}: {error}") from error
    if not OLDEST_MS <= epoch_ms < _NEWEST_MS:
        message = f"event_time_ms {_shown(value)} in unit {unit} is no time of a live stream; correct time_unit"
        raise EventError("unmappable", message)
    return epoch_ms


def _find(document: Any, path: list[str]) -> Any:
    """Return the value at a path, None where there is none."""
    for index, segment in enumerate(path):
        if segment == "*":
            return [_find(item, path[index + 1 :]) for item in document] if isinstance(document, list) else None
        if isinstance(document, dict):
            document = document.get(segment)
        elif isinstance(document, list) and segment.isdigit() and int(segment) < len(document):
            document = document[int(segment)]
        else:
            return None
    return document


def _check(source: Source, path: Path) -> None:
    known = {field.name: field.required for field in msgspec.structs.fields(_EVENTS[source.event])}
    mapped = source.fields.keys() | source.constants.keys()
    unknown = {name for name in mapped if name not in known and not name.startswith(_NUMERIC)}
    missing = {name for name, required in known.items() if required} - mapped
    for names, fault in ((unknown, "does not exist"), (missing, "is not mapped")):
        if names:
            message = f"mapping file {path}, topic {source.topic}: {source.event} field {sorted(names)[0]!r} {fault}"
            raise ValueError(message)
    _check_values(source, path)


def _check_values(source: Source, path: Path) -> None:
    """Raise ValueError for a value in the file itself that no event can hold: it would spoil every record."""
    types = {field.name: field.type for field in msgspec.structs.fields(_EVENTS[source.event])}
    given = [*source.constants.items(), *((name, to) for name, of in source.values.items() for to in of.values())]
    for name, value in given:
        try:
            converted = _convert(source, name, value)
            msgspec.convert(converted, types.get(name, float), strict=False)
        except (EventError, msgspec.ValidationError) as error:
            message = f"mapping file {path}, topic {source.topic}: {source.event} field {name!r} = {value!r}: {error}"
            raise ValueError(message) from error
