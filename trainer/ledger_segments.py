"""Ledger segments: what became of every row, one Parquet file an update, each naming the one before.

A checkpoint names the last segment by digest and that one the segment before it, so the chain is part of the
checkpoint's unit. A segment that no checkpoint leads to was written by an update that a crash undid: it is ignored, and
overwritten when the update runs again.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from trainer.durable_files import sha256, write_durably

Outcome = Literal["trained", "sampled_out", "repeat", "late", "replayed"]
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

_PREVIOUS = b"millstream.previous_segment"


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


def write_segment(
    directory: Path, update: int, rows: Sequence[LedgerRow], previous: SegmentReference | None
) -> SegmentReference:
    """Write the segment of an update durably and return the reference that the checkpoint must hold."""
    columns = list(zip(*rows, strict=True)) or [()] * len(SCHEMA)
    arrays = [pa.array(column, type=field.type) for column, field in zip(columns, SCHEMA, strict=True)]
    metadata = {_PREVIOUS: msgspec.json.encode(previous)}
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(arrays, schema=SCHEMA.with_metadata(metadata)), sink, compression="zstd")
    content = sink.getvalue().to_pybytes()
    name = f"update-{update:08d}.parquet"
    directory.mkdir(parents=True, exist_ok=True)
    write_durably(directory / name, content)
    return SegmentReference(name, sha256(content))


def read_segments(directory: Path, last: SegmentReference | None) -> pa.Table:
    """Return every row of the chain that ends in `last`, oldest update first.

    Raises:
        ValueError: a segment is missing or is not the one that was referenced.
    """
    tables: list[pa.Table] = []
    while last is not None:
        content = _checked_content(directory, last)
        table = pq.read_table(pa.BufferReader(content))
        metadata = table.schema.metadata or {}
        last = msgspec.json.decode(metadata[_PREVIOUS], type=SegmentReference | None)
        tables.append(table.replace_schema_metadata(None))
    return pa.concat_tables([SCHEMA.empty_table(), *reversed(tables)])


def _checked_content(directory: Path, reference: SegmentReference) -> bytes:
    path = directory / reference.name
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        message = f"ledger segment {path} is missing; what its update learned can no longer be proved"
        raise ValueError(message) from error
    if (found := sha256(content)) != reference.sha256:
        message = f"ledger segment {path} has sha256 {found}, its successor says {reference.sha256}; it was changed"
        raise ValueError(message)
    return content
