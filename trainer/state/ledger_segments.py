"""Ledger segments: what became of every row, in Parquet files of which each names the one before."""

import io
from collections.abc import Iterable, Iterator, Sequence
from hashlib import file_digest
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from stream.codec import UndecodableError, decoded
from stream.disk.durable_files import sha256, storing, write_durably

Outcome = Literal["trained", "sampled_out", "failed", "repeat", "late", "replayed"]
"""failed: chosen, and not learned because of an error or of numbers that are not finite."""
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)

_FIELDS: "list[pa.Field[Any]]" = [
    pa.field("impression_id", pa.string(), nullable=False),
    pa.field("revision", pa.int32(), nullable=False),
    pa.field("outcome", pa.string(), nullable=False),
    pa.field("update", pa.int64(), nullable=False),
    pa.field("weight", pa.float64(), nullable=False),
    pa.field("source_partition", pa.int32(), nullable=False),
    pa.field("source_offset", pa.int64(), nullable=False),
]
SCHEMA = pa.schema(_FIELDS)
LINE_SCHEMA = SCHEMA.append(pa.field("line", pa.string(), nullable=False))

_PREVIOUS, _LEVEL, _PLACE = b"millstream.previous_segment", b"millstream.level", b"millstream.place"
_ROWS_AT_ONCE = 65_536


class LedgerRow(NamedTuple):
    """One row of an update.

    Attributes:
        impression_id: Which impression.
        revision: Which revision of its label.
        outcome: What became of it.
        update: In which update.
        weight: Its weight in the loss; 0 where it taught nothing.
        source_partition: Partition of `events` it came from.
        source_offset: Offset there.
    """

    impression_id: str
    revision: int
    outcome: Outcome
    update: int
    weight: float
    source_partition: int
    source_offset: int


class SegmentReference(msgspec.Struct, frozen=True):
    """A segment by file name and the sha256 of its content."""

    name: str
    sha256: str


class SegmentHeader(msgspec.Struct, frozen=True):
    """What a segment says of itself.

    Attributes:
        previous: The segment before it.
        level: 0 for the rows of one update; a merged one stands a level above its parts. None in segments of releases
            that did not merge.
        place: Which segment of this level it is since the last one of another level, from 1.
    """

    previous: SegmentReference | None
    level: int | None
    place: int


def write_segment(
    directory: Path, update: int, rows: Sequence[LedgerRow], previous: SegmentReference | None
) -> SegmentReference:
    """Write the segment of an update durably and return the reference that the checkpoint must hold."""
    columns = list(zip(*rows, strict=True)) or [()] * len(SCHEMA)
    arrays = [pa.array(column, type=field.type) for column, field in zip(columns, SCHEMA, strict=True)]
    table = pa.table(arrays, schema=SCHEMA)
    return write_tables(directory, f"update-{update:08d}.parquet", [table], header_after(directory, previous, level=0))


def header_after(directory: Path, previous: SegmentReference | None, *, level: int) -> SegmentHeader:
    """Return the header of the segment that follows another."""
    try:
        before = read_header(directory, previous) if previous else None
    except ValueError:
        # Whoever reads the chain will say so; nothing that is damaged is merged.
        before = None
    return SegmentHeader(previous, level, before.place + 1 if before and before.level == level else 1)


def write_tables(directory: Path, name: str, tables: Iterable[pa.Table], header: SegmentHeader) -> SegmentReference:
    """Write a segment durably; the same rows and header give the same bytes."""
    metadata = {
        _PREVIOUS: msgspec.json.encode(header.previous),
        _LEVEL: msgspec.json.encode(header.level),
        _PLACE: msgspec.json.encode(header.place),
    }
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, SCHEMA.with_metadata(metadata), compression="zstd") as writer:
        for table in tables:
            writer.write_table(table.replace_schema_metadata(metadata))
    content = sink.getvalue().to_pybytes()
    with storing(directory):
        directory.mkdir(parents=True, exist_ok=True)
    write_durably(directory / name, content)
    return SegmentReference(name, sha256(content))


def read_header(directory: Path, reference: SegmentReference) -> SegmentHeader:
    """Return the header of a segment, without looking at its rows.

    Raises:
        ValueError: it is missing or no segment.
    """
    return _header(directory / reference.name, directory / reference.name)


def open_segment(directory: Path, reference: SegmentReference, *, whole: bool) -> tuple[Path | bytes, SegmentHeader]:
    """Return a segment that is the one referenced, and its header.

    Args:
        directory: Where it is.
        reference: Its name and digest.
        whole: Return its content, not its path: it may be swept at any moment.

    Raises:
        ValueError: it is missing, no segment, or was changed.
    """
    path = directory / reference.name
    try:
        source = path.read_bytes() if whole else path
        with io.BytesIO(source) if isinstance(source, bytes) else source.open("rb") as file:
            found = file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ValueError(_unusable(path, error)) from error
    if found != reference.sha256:
        message = f"ledger segment {path} has sha256 {found}, its successor says {reference.sha256}; it was changed"
        raise ValueError(message)
    return source, _header(path, source)


def segment_tables(source: Path | bytes) -> Iterator[pa.Table]:
    """Yield the rows of a segment, a bounded number at a time.

    Args:
        source: Its path or its content.

    Raises:
        UndecodableError: it is damaged.
    """
    with decoded(source, lambda source: pq.ParquetFile(_readable(source)), "a ledger segment") as file:
        batches = file.iter_batches(_ROWS_AT_ONCE)
        # Pages are read as they are needed, so damage shows late.
        while (batch := decoded(batches, lambda batches: next(batches, None), "a ledger segment")) is not None:
            yield pa.Table.from_batches([batch]).replace_schema_metadata(None)


def _header(path: Path, source: Path | bytes) -> SegmentHeader:
    try:
        return decoded(source, _read_header, "a ledger segment")
    except UndecodableError as error:
        raise ValueError(
            _unusable(path, error.__cause__ if isinstance(error.__cause__, FileNotFoundError) else error)
        ) from error


def _read_header(source: Path | bytes) -> SegmentHeader:
    metadata = pq.read_schema(_readable(source)).metadata
    return SegmentHeader(
        previous=msgspec.json.decode(metadata[_PREVIOUS], type=SegmentReference | None),
        level=msgspec.json.decode(metadata.get(_LEVEL, b"null"), type=int | None),
        place=msgspec.json.decode(metadata.get(_PLACE, b"1"), type=int),
    )


def _readable(source: Path | bytes) -> Any:
    return pa.BufferReader(source) if isinstance(source, bytes) else source


def _unusable(path: Path, error: Exception) -> str:
    what = "is missing" if isinstance(error, FileNotFoundError) else f"cannot be read ({error})"
    return f"ledger segment {path} {what}; what its updates learned can no longer be proved"
