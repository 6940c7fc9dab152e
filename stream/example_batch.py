"""Weighted examples as Arrow IPC record batches: the bytes of one `weighted-examples` record."""

from collections.abc import Sequence
from typing import Any

import msgspec
import pyarrow as pa

from stream.codec import UndecodableError, decoded
from stream.events import SCHEMA_VERSION, EventError, WeightedExample

MAX_BATCH_BYTES = 512 * 1024
"""A larger batch is split: half of Kafka's default limit leaves room for headers and a bad compression ratio."""

_OPTIONS = pa.ipc.IpcWriteOptions(compression="zstd")

_FIELDS: list["pa.Field[Any]"] = [
    pa.field("impression_id", pa.string(), nullable=False),
    pa.field("event_time_ms", pa.int64(), nullable=False),
    pa.field("user_id", pa.string(), nullable=False),
    pa.field("query", pa.string(), nullable=False),
    pa.field("item_id", pa.string(), nullable=False),
    pa.field("item_text", pa.string(), nullable=False),
    pa.field("history", pa.list_(pa.string()), nullable=False),
    pa.field("position", pa.int32(), nullable=False),
    pa.field("numeric", pa.map_(pa.string(), pa.float64()), nullable=False),
    pa.field("served_version", pa.string()),
    pa.field("served_score", pa.float64()),
    pa.field("label", pa.int8(), nullable=False),
    pa.field("kind", pa.string()),
    pa.field("click_ids", pa.list_(pa.string()), nullable=False),
    pa.field("label_due_ms", pa.int64(), nullable=False),
    pa.field("revision", pa.int32(), nullable=False),
    pa.field("window_cut", pa.bool_(), nullable=False),
    pa.field("source_partition", pa.int32(), nullable=False),
    pa.field("source_offset", pa.int64(), nullable=False),
    pa.field("live_version", pa.string(), nullable=False),
    pa.field("live_z", pa.float64(), nullable=False),
    pa.field("frozen_version", pa.string()),
    pa.field("frozen_z", pa.float64()),
    pa.field("control_version", pa.string()),
    pa.field("control_z", pa.float64()),
    pa.field("hidden_norm", pa.float64(), nullable=False),
    pa.field("scored_ms", pa.int64(), nullable=False),
    pa.field("strategy", pa.string(), nullable=False),
    pa.field("inclusion_probability", pa.float64(), nullable=False),
    pa.field("importance_weight", pa.float64(), nullable=False),
    pa.field("logit_offset", pa.float64(), nullable=False),
    pa.field("mean_score", pa.float64()),
    pa.field("mean_sigmoid", pa.float64()),
]
SCHEMA = pa.schema(_FIELDS, metadata={"millstream.schema_version": str(SCHEMA_VERSION)})
"""The columns, all there from the first version, so that no later strategy changes the bytes."""


def encode_examples(examples: Sequence[WeightedExample]) -> list[bytes]:
    """Return the examples, in order, as one or more Arrow IPC streams of at most `MAX_BATCH_BYTES` each.

    A single example is never split: events are bounded (`events.MAX_EVENT_BYTES`), so it fits.
    """
    if not examples:
        return []
    batch = pa.RecordBatch.from_pylist([_to_row(example) for example in examples], schema=SCHEMA)
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


def _examples(table: pa.Table) -> list[WeightedExample]:
    # Converted, not constructed: a column obeys the same limits as a field of an event.
    return msgspec.convert([_nested(row) for row in table.to_pylist()], list[WeightedExample])


def _to_row(example: WeightedExample) -> dict[str, Any]:
    labeled = example.labeled
    impression = labeled.impression
    return {
        "impression_id": impression.impression_id,
        "event_time_ms": impression.event_time_ms,
        "user_id": impression.user_id,
        "query": impression.query,
        "item_id": impression.item_id,
        "item_text": impression.item_text,
        "history": impression.history,
        "position": impression.position,
        "numeric": list(impression.numeric.items()),
        "served_version": impression.served.model_version if impression.served else None,
        "served_score": impression.served.score if impression.served else None,
        "label": labeled.label,
        "kind": labeled.kind,
        "click_ids": labeled.click_ids,
        "label_due_ms": labeled.label_due_ms,
        "revision": labeled.revision,
        "window_cut": labeled.window_cut,
        "source_partition": labeled.source_partition,
        "source_offset": labeled.source_offset,
        "live_version": example.live.version,
        "live_z": example.live.z,
        "frozen_version": example.frozen.version if example.frozen else None,
        "frozen_z": example.frozen.z if example.frozen else None,
        "control_version": example.control.version if example.control else None,
        "control_z": example.control.z if example.control else None,
        "hidden_norm": example.hidden_norm,
        "scored_ms": example.scored_ms,
        "strategy": example.strategy,
        "inclusion_probability": example.inclusion_probability,
        "importance_weight": example.importance_weight,
        "logit_offset": example.logit_offset,
        "mean_score": example.mean_score,
        "mean_sigmoid": example.mean_sigmoid,
    }


def _nested(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row of columns as the fields of `WeightedExample`."""
    impression = {
        "impression_id": row["impression_id"],
        "event_time_ms": row["event_time_ms"],
        "user_id": row["user_id"],
        "query": row["query"],
        "item_id": row["item_id"],
        "item_text": row["item_text"],
        "history": row["history"],
        "position": row["position"],
        "numeric": dict(row["numeric"]),
        "served": _pair("model_version", row["served_version"], "score", row["served_score"]),
    }
    labeled = {
        "impression": impression | {"type": "impression"},
        "label": row["label"],
        "kind": row["kind"],
        "click_ids": row["click_ids"],
        "label_due_ms": row["label_due_ms"],
        "revision": row["revision"],
        "window_cut": row["window_cut"],
        "source_partition": row["source_partition"],
        "source_offset": row["source_offset"],
    }
    return {
        "labeled": labeled,
        "live": {"version": row["live_version"], "z": row["live_z"]},
        "frozen": _pair("version", row["frozen_version"], "z", row["frozen_z"]),
        "control": _pair("version", row["control_version"], "z", row["control_z"]),
        "hidden_norm": row["hidden_norm"],
        "scored_ms": row["scored_ms"],
        "strategy": row["strategy"],
        "inclusion_probability": row["inclusion_probability"],
        "importance_weight": row["importance_weight"],
        "logit_offset": row["logit_offset"],
        "mean_score": row["mean_score"],
        "mean_sigmoid": row["mean_sigmoid"],
    }


def _pair(version_name: str, version: str | None, score_name: str, score: float | None) -> dict[str, Any] | None:
    return None if version is None or score is None else {version_name: version, score_name: score}
