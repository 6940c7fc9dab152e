"""The mapping file: how a foreign JSON record becomes an impression or a click."""

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import Struct

from stream.events import MAX_EVENT_BYTES, Click, EventError, Impression, encode

TimeUnit = Literal["s", "ms", "us", "iso8601"]

RECORD_ID = "$record"
"""A path that stands for `<topic>-<partition>-<offset>`: an id for click streams that have none."""

_EVENTS: dict[str, type[Impression] | type[Click]] = {"impression": Impression, "click": Click}
_TEXTS = frozenset({"impression_id", "click_id", "item_id", "item_text", "query", "user_id", "kind"})
_NUMERIC = "numeric."
_MS_PER_UNIT = {"s": 1000.0, "ms": 1.0, "us": 0.001}


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
        sources = msgspec.toml.decode(path.read_bytes(), type=_MappingFile).source
    except OSError as error:
        message = f"mapping file {path} cannot be read ({error.strerror}); set MILLSTREAM_ADAPTER_MAPPING to yours"
        raise ValueError(message) from error
    except msgspec.DecodeError as error:
        message = f"mapping file {path} is not a mapping: {error}"
        raise ValueError(message) from error
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
            document = msgspec.json.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise EventError("malformed", f"not JSON: {error}") from error
        for source in self._sources:
            if all(_find(document, path.split(".")) == value for path, value in source.where.items()):
                return _event(source, document, record_id)
        return None


def _event(source: Source, document: Any, record_id: str) -> Impression | Click:
    row: dict[str, Any] = dict(source.constants)
    for name, path in source.fields.items():
        value = record_id if path == RECORD_ID else _find(document, path.split("."))
        value = source.values.get(name, {}).get(str(value), value)
        if value is None:
            continue
        if name.startswith(_NUMERIC):
            row.setdefault("numeric", {})[name.removeprefix(_NUMERIC)] = value
        else:
            row[name] = _convert(source, name, value)
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
    if name == "history" and isinstance(value, list):
        return [str(text) for text in value if text is not None]
    # Shops number their items and pages; here ids are text.
    return str(value) if name in _TEXTS and isinstance(value, int | float) else value


def _epoch_ms(value: Any, unit: TimeUnit) -> int:
    try:
        if unit != "iso8601":
            return round(float(value) * _MS_PER_UNIT[unit])
        time = datetime.fromisoformat(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise EventError("unmappable", f"event time {value!r} is not in unit {unit}: {error}") from error
    return round((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp() * 1000)


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
