"""Recorded logs: reads the plain log format and our own events, writes our own events.

Three formats, told apart by the file's suffix and first line:
- plain JSON lines (`.jsonl`, `.jsonl.gz`), one outcome a line, sorted by time:
  `{"ts": unix seconds, "label": 0|1, "item": text, "context": text, "item_id": str, "user_id": str, ...}`;
- our own events as JSON lines, exactly the bytes of the `events` topic;
- our own events as Parquet, with the columns of `EVENT_SCHEMA`.
"""

import codecs
import gzip
import heapq
import itertools
import zlib
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
from msgspec import Meta, Struct

from stream.codec import UndecodableError, decoded, from_json
from stream.events import OLDEST_MS, Click, EventError, Impression, Served, decode_event, encode

_FIELDS: list["pa.Field[Any]"] = [
    pa.field("type", pa.string(), nullable=False),  # impression | click
    pa.field("impression_id", pa.string(), nullable=False),
    pa.field("event_time_ms", pa.int64(), nullable=False),
    pa.field("item_id", pa.string()),  # from here on: impressions only, null for a click
    pa.field("item_text", pa.string()),
    pa.field("query", pa.string()),
    pa.field("user_id", pa.string()),
    pa.field("history", pa.list_(pa.string())),
    pa.field("position", pa.int32()),
    pa.field("numeric", pa.map_(pa.string(), pa.float64())),
    pa.field("served_version", pa.string()),
    pa.field("served_score", pa.float64()),
    pa.field("click_id", pa.string()),  # from here on: clicks only, null for an impression
    pa.field("kind", pa.string()),
    pa.field("schema_version", pa.int32(), nullable=False),
]
EVENT_SCHEMA = pa.schema(_FIELDS)
"""Columns of a Parquet file of our own events; unknown further columns are ignored."""

_ROWS_PER_GROUP = 10_000
_MAX_REPORTED = 20
_MAX_TS = 1e10


class LogError(ValueError):
    """A recorded log that cannot be read; the message names the file, the line and the remedy."""


class LogRow(Struct):
    """One line of the plain log format."""

    ts: Annotated[float, Meta(gt=0)]
    label: Annotated[int, Meta(ge=0, le=1)]
    item: str
    context: str = ""
    item_id: Annotated[str, Meta(max_length=200)] = ""
    user_id: Annotated[str, Meta(max_length=200)] = ""


class BadLines:
    """Counts the lines of a log that could not be used, and keeps the first messages.

    Attributes:
        count: Number of lines left out.
        messages: What was wrong with the first of them.
    """

    def __init__(self) -> None:
        self.count = 0
        self.messages: list[str] = []

    def add(self, message: str) -> None:
        """Count one line."""
        self.count += 1
        if len(self.messages) < _MAX_REPORTED:
            self.messages.append(message)


def read_log(
    path: Path,
    *,
    click_delay_seconds: float,
    skip: int = 0,
    limit: int | None = None,
    id_prefix: str = "row",
    bad_lines: BadLines | None = None,
) -> Iterator[Impression | Click]:
    """Yield the events of a log in the order in which they happened.

    A row of the plain format becomes an impression (`item` is its text, `context` its query, the line number its id)
    and, if positive, one click after `click_delay_seconds`.

    Args:
        path: The log.
        click_delay_seconds: When a positive row of the plain format was clicked; unused for our own events.
        skip: Impressions left out at the start, together with their clicks.
        limit: Impressions to yield, with their clicks; all when None.
        id_prefix: Ids of the plain format are `<id_prefix>-<line number>`.
        bad_lines: Counts unusable lines. When None, the first one raises.

    Raises:
        LogError: the file is missing, empty or of no known format, or a line is unusable and `bad_lines` is None.
    """
    if not path.is_file():
        message = f"{path} is not a file; name a recorded log (.jsonl, .jsonl.gz or .parquet)"
        raise LogError(message)
    rejected = _Rejected(path, bad_lines)
    if path.suffix == ".parquet":
        return _cut(_read_parquet(path, rejected), skip, limit)
    if _is_plain(path):
        rows = _read_rows(path, rejected)
        end = None if limit is None else skip + limit
        return _events_of_rows(itertools.islice(rows, skip, end), click_delay_seconds, id_prefix)
    return _cut(_read_events(path, rejected), skip, limit)


def write_events(path: Path, events: Iterable[Impression | Click]) -> int:
    """Write our own events, as Parquet or JSON lines by the suffix of the path, and return how many.

    Raises:
        LogError: the suffix is not .parquet, .jsonl or .jsonl.gz.
    """
    if path.suffix == ".parquet":
        return _write_parquet(path, events)
    if not path.name.endswith((".jsonl", ".jsonl.gz")):
        message = f"{path} has no suffix that names a format; use .parquet, .jsonl or .jsonl.gz"
        raise LogError(message)
    count = 0
    with gzip.open(path, "wb") if path.suffix == ".gz" else path.open("wb") as file:
        for event in events:
            file.write(encode(event) + b"\n")
            count += 1
    return count


class _Rejected:
    """What becomes of an unusable line: raised, or counted where the caller asked for it."""

    def __init__(self, path: Path, bad_lines: BadLines | None) -> None:
        self._path = path
        self._bad_lines = bad_lines

    def line(self, number: int, problem: object) -> None:
        message = f"{self._path} line {number}: {problem}"
        if self._bad_lines is None:
            raise LogError(f"{message}; correct or remove the line, or let unusable lines be skipped and counted")
        self._bad_lines.add(message)


def _open(path: Path) -> BinaryIO:
    return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")  # type: ignore[return-value]


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield (number from 1, bytes) of each line that is not blank, without a byte order mark."""
    try:
        with _open(path) as file:
            for number, line in enumerate(file, start=1):
                content = (line.removeprefix(codecs.BOM_UTF8) if number == 1 else line).strip()
                if content:
                    yield number, content
    except (OSError, EOFError, zlib.error) as error:
        raise LogError(f"{path} cannot be read to its end ({error}); is it complete?") from error


def _is_plain(path: Path) -> bool:
    """Tell the plain format from our own events by the first line that is a JSON object."""
    for _number, line in itertools.islice(_lines(path), 100):
        try:
            keys = from_json(line, dict[str, Any], "an object").keys()
        except UndecodableError:
            continue
        if keys >= {"ts", "label", "item"}:
            return True
        if "type" in keys:
            return False
    message = (
        f"{path} holds no line of a known format; a line is our own event, or an object with ts, label and item "
        "(see the README)"
    )
    raise LogError(message)


def _read_rows(path: Path, rejected: _Rejected) -> Iterator[tuple[int, LogRow]]:
    decoder = msgspec.json.Decoder(LogRow)
    latest = 0.0
    for number, line in _lines(path):
        try:
            row = decoded(line, decoder.decode, "a row of the plain log format")
        except UndecodableError as error:
            rejected.line(number, error)
            continue
        if row.ts >= _MAX_TS:
            rejected.line(number, f"ts {row.ts:g} lies beyond the year 2286; the unit is seconds, not milliseconds")
            continue
        if row.ts < latest:
            rejected.line(number, f"ts {row.ts} is before the {latest} of an earlier line; sort the log by ts")
            continue
        latest = row.ts
        yield number, row


def _events_of_rows(
    rows: Iterable[tuple[int, LogRow]], click_delay_seconds: float, id_prefix: str
) -> Iterator[Impression | Click]:
    due: list[tuple[int, int, Click]] = []
    for number, row in rows:
        time_ms = round(row.ts * 1000)
        while due and due[0][0] <= time_ms:
            yield heapq.heappop(due)[2]
        impression_id = f"{id_prefix}-{number}"
        yield Impression(
            impression_id=impression_id,
            event_time_ms=time_ms,
            item_id=row.item_id,
            item_text=row.item,
            query=row.context,
            user_id=row.user_id,
        )
        if row.label:
            click_ms = time_ms + round(click_delay_seconds * 1000)
            click = Click(click_id=f"{impression_id}-click", impression_id=impression_id, event_time_ms=click_ms)
            heapq.heappush(due, (click_ms, number, click))
    while due:
        yield heapq.heappop(due)[2]


def _read_events(path: Path, rejected: _Rejected) -> Iterator[Impression | Click]:
    for number, line in _lines(path):
        try:
            yield _event_of(line)
        except EventError as error:
            rejected.line(number, error)


def _event_of(raw: bytes) -> Impression | Click:
    event = decode_event(raw)
    time_ms = event.event_time_ms
    if OLDEST_MS / 1000 <= time_ms < _MAX_TS:
        day = datetime.fromtimestamp(time_ms / 1000, tz=UTC).strftime("%d %B %Y")
        message = f"event_time_ms {time_ms} is {day}; the unit is milliseconds, and these look like seconds: times 1000"
        raise EventError("past_time", message)
    return event


def _cut(events: Iterator[Impression | Click], skip: int, limit: int | None) -> Iterator[Impression | Click]:
    """Yield events without the first `skip` impressions and those after `limit` more, and without their clicks."""
    seen = 0
    left_out: set[str] = set()
    for event in events:
        if isinstance(event, Click):
            if event.impression_id not in left_out:
                yield event
            continue
        seen += 1
        if skip < seen and (limit is None or seen <= skip + limit):
            yield event
        else:
            left_out.add(event.impression_id)


def _read_parquet(path: Path, rejected: _Rejected) -> Iterator[Impression | Click]:
    try:
        file = decoded(path, pq.ParquetFile, "a Parquet file", path)
    except UndecodableError as error:
        raise LogError(str(error)) from error
    with file:
        if missing := set(EVENT_SCHEMA.names) - set(file.schema_arrow.names):
            message = (
                f"{path} lacks the columns {', '.join(sorted(missing))}; "
                "see EVENT_SCHEMA in stream/play/recorded_log.py"
            )
            raise LogError(message)
        for number, row in enumerate(_parquet_rows(path, file), start=1):
            try:
                # Through the codec, so that a column obeys the same limits as a field of an event.
                event = _event_of(decoded(row, _event_bytes, "an event"))
            except (EventError, UndecodableError) as error:
                rejected.line(number, error)
                continue
            yield event


def _parquet_rows(path: Path, file: pq.ParquetFile) -> Iterator[dict[str, Any]]:
    batches = file.iter_batches(_ROWS_PER_GROUP, columns=EVENT_SCHEMA.names)
    while True:
        try:
            # Pages are read as they are needed, so damage shows late.
            rows = decoded(batches, _next_rows, "a sound Parquet file", path)
        except UndecodableError as error:
            raise LogError(str(error)) from error
        if rows is None:
            return
        yield from rows


def _next_rows(batches: Iterator[pa.RecordBatch]) -> list[dict[str, Any]] | None:
    batch = next(batches, None)
    if batch is None:
        return None
    batch.validate(full=True)
    return batch.to_pylist()


def _event_bytes(row: dict[str, Any]) -> bytes:
    return msgspec.json.encode(_plain_event(row))


def _plain_event(row: dict[str, Any]) -> dict[str, Any]:
    version, score = row.pop("served_version"), row.pop("served_score")
    if row["numeric"] is not None:
        row["numeric"] = dict(row["numeric"])
    if version is not None and score is not None:
        row["served"] = {"model_version": version, "score": score}
    return {name: value for name, value in row.items() if value is not None}


def _write_parquet(path: Path, events: Iterable[Impression | Click]) -> int:
    count = 0
    with pq.ParquetWriter(path, EVENT_SCHEMA, compression="zstd") as writer:
        for chunk in _chunks(events):
            writer.write_batch(pa.RecordBatch.from_pylist([_parquet_row(event) for event in chunk], EVENT_SCHEMA))
            count += len(chunk)
    return count


def _chunks(events: Iterable[Impression | Click]) -> Iterator[list[Impression | Click]]:
    iterator = iter(events)
    while chunk := list(itertools.islice(iterator, _ROWS_PER_GROUP)):
        yield chunk


def _parquet_row(event: Impression | Click) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(EVENT_SCHEMA.names)
    row |= msgspec.structs.asdict(event)
    row["type"] = "click" if isinstance(event, Click) else "impression"
    if isinstance(event, Impression):
        row["numeric"] = list(event.numeric.items())
        served: Served | None = row.pop("served")
        if served is not None:
            row |= {"served_version": served.model_version, "served_score": served.score}
    return row
