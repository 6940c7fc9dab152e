"""Weighted examples as Arrow IPC record batches: the bytes of one `weighted-examples` record."""

from collections import defaultdict
from collections.abc import Sequence
from functools import reduce
from operator import attrgetter
from typing import Any, NamedTuple

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from stream.codec import UndecodableError, decoded
from stream.events import SCHEMA_VERSION, EventError, WeightedExample

MAX_BATCH_BYTES = 512 * 1024
"""A larger batch is split: half of Kafka's default limit leaves room for headers and a bad compression ratio."""

_OPTIONS = pa.ipc.IpcWriteOptions(compression="zstd")


class _Column(NamedTuple):
    """A column and what it holds of an example: an attribute, or null where what bears that is missing."""

    name: str
    type: pa.DataType
    attribute: str
    nullable: bool = False


_COLUMNS = (
    _Column("impression_id", pa.string(), "labeled.impression.impression_id"),
    _Column("event_time_ms", pa.int64(), "labeled.impression.event_time_ms"),
    _Column("user_id", pa.string(), "labeled.impression.user_id"),
    _Column("query", pa.string(), "labeled.impression.query"),
    _Column("item_id", pa.string(), "labeled.impression.item_id"),
    _Column("item_text", pa.string(), "labeled.impression.item_text"),
    _Column("history", pa.list_(pa.string()), "labeled.impression.history"),
    _Column("position", pa.int32(), "labeled.impression.position"),
    _Column("numeric", pa.map_(pa.string(), pa.float64()), "labeled.impression.numeric"),
    _Column("served_version", pa.string(), "labeled.impression.served.model_version", nullable=True),
    _Column("served_score", pa.float64(), "labeled.impression.served.score", nullable=True),
    _Column("label", pa.int8(), "labeled.label"),
    _Column("kind", pa.string(), "labeled.kind", nullable=True),
    _Column("click_ids", pa.list_(pa.string()), "labeled.click_ids"),
    _Column("label_due_ms", pa.int64(), "labeled.label_due_ms"),
    _Column("revision", pa.int32(), "labeled.revision"),
    _Column("window_cut", pa.bool_(), "labeled.window_cut"),
    _Column("source_partition", pa.int32(), "labeled.source_partition"),
    _Column("source_offset", pa.int64(), "labeled.source_offset"),
    _Column("live_version", pa.string(), "live.version"),
    _Column("live_z", pa.float64(), "live.z"),
    _Column("frozen_version", pa.string(), "frozen.version", nullable=True),
    _Column("frozen_z", pa.float64(), "frozen.z", nullable=True),
    _Column("control_version", pa.string(), "control.version", nullable=True),
    _Column("control_z", pa.float64(), "control.z", nullable=True),
    _Column("hidden_norm", pa.float64(), "hidden_norm"),
    _Column("scored_ms", pa.int64(), "scored_ms"),
    _Column("strategy", pa.string(), "strategy"),
    _Column("inclusion_probability", pa.float64(), "inclusion_probability"),
    _Column("importance_weight", pa.float64(), "importance_weight"),
    _Column("logit_offset", pa.float64(), "logit_offset"),
    _Column("mean_score", pa.float64(), "mean_score", nullable=True),
    _Column("mean_sigmoid", pa.float64(), "mean_sigmoid", nullable=True),
)
"""All there from the first version, so that no later strategy changes the bytes."""

_OPTIONAL = {"labeled.impression.served", "frozen", "control"}
"""What an example may lack: it does where one of the columns is null."""

SCHEMA = pa.schema(
    [pa.field(column.name, column.type, nullable=column.nullable) for column in _COLUMNS],
    metadata={"millstream.schema_version": str(SCHEMA_VERSION)},
)


def encode_examples(examples: Sequence[WeightedExample]) -> list[bytes]:
    """Return the examples, in order, as one or more Arrow IPC streams of at most `MAX_BATCH_BYTES` each.

    A single example is never split: events are bounded (`events.MAX_EVENT_BYTES`), so it fits.
    """
    if not examples:
        return []
    batch = pa.RecordBatch.from_arrays(_arrays(examples), schema=SCHEMA)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, SCHEMA, options=_OPTIONS) as writer:
        writer.write_batch(batch)
    raw = sink.getvalue().to_pybytes()
    if len(raw) <= MAX_BATCH_BYTES or len(examples) == 1:
        return [raw]
    middle = len(examples) // 2
    return encode_examples(examples[:middle]) + encode_examples(examples[middle:])


def decode_examples(raw: bytes | None) -> list[WeightedExample]:
    """Return the examples in a record of `weighted-examples`.

    Raises:
        EventError: with reason malformed or unknown_version.
    """
    what = "a batch of weighted examples"
    try:
        version, table = decoded(raw or b"", _table, what)
        if not 1 <= version <= SCHEMA_VERSION:
            message = f"schema_version {version} is not one of 1..{SCHEMA_VERSION}; upgrade Millstream here first"
            raise EventError("unknown_version", message)
        return decoded(table, _examples, what)
    except UndecodableError as error:
        raise EventError("malformed", str(error)) from error


def _table(raw: bytes) -> tuple[int, pa.Table]:
    with pa.ipc.open_stream(raw) as reader:
        version = int((reader.schema.metadata or {}).get(b"millstream.schema_version", b"0"))
        table = reader.read_all()
    # Arrow believes the lengths in a buffer: unchecked, wrong ones are read beyond its end.
    table.validate(full=True)
    return version, table


def _arrays(examples: Sequence[WeightedExample]) -> list["pa.Array[Any]"]:
    known: dict[str, list[Any]] = {"": list(examples)}
    return [pa.array(_values(column.attribute, known), column.type) for column in _COLUMNS]


def _values(attribute: str, known: dict[str, list[Any]]) -> list[Any]:
    """Return an attribute of every example, None where what bears it is missing; note it in `known`."""
    if attribute not in known:
        bearer, _, name = attribute.rpartition(".")
        get = attrgetter(name)
        known[attribute] = [None if one is None else get(one) for one in _values(bearer, known)]
    return known[attribute]


def _examples(table: pa.Table) -> list[WeightedExample]:
    table = table.combine_chunks()
    parts: dict[str, dict[str, Any]] = defaultdict(dict)
    for column in _COLUMNS:
        bearer, _, name = column.attribute.rpartition(".")
        parts[bearer][name] = table.column(column.name).chunk(0)
    for bearer in sorted(parts, reverse=True):  # a part of a part comes before it, the example itself last
        columns = parts[bearer].values()
        missing = reduce(pc.or_, (column.is_null() for column in columns)) if bearer in _OPTIONAL else None
        owner, _, name = bearer.rpartition(".")
        parts[owner][name] = pa.StructArray.from_arrays(list(columns), list(parts[bearer]), mask=missing)
    rows = parts[""][""].to_pylist()
    for row in rows:
        impression = row["labeled"]["impression"]
        impression["numeric"] = dict(impression["numeric"])
    # Converted, not constructed: a column obeys the same limits as a field of an event.
    return msgspec.convert(rows, list[WeightedExample])
