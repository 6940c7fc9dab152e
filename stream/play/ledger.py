"""The producer's ledger: one row for every record that Kafka has confirmed. The audit compares the topics with it."""

from pathlib import Path
from typing import Any, Literal

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from stream.codec import UndecodableError, decoded

RecordKind = Literal[
    "impression",
    "click",
    "late_click",
    "orphaned_click",
    "repeated_impression",
    "repeated_click",
    "malformed",
    "unknown_version",
    "oversized",
]
"""What a record is, in the eyes of who sent it.

`click` comes inside the window of its impression, the first of them and further ones alike; `late_click` after it;
`orphaned_click` names an impression that was never sent. Repeats are the same bytes again. The last three cannot be
decoded and must end as dead letters.
"""

_FIELDS: list["pa.Field[Any]"] = [
    pa.field("kind", pa.string(), nullable=False),
    pa.field("partition", pa.int32(), nullable=False),
    pa.field("offset", pa.int64(), nullable=False),
    pa.field("event_time_ms", pa.int64(), nullable=False),
    pa.field("impression_id", pa.string()),  # null where there is none to be read
    pa.field("click_id", pa.string()),  # clicks only
    pa.field("label", pa.int8()),  # impressions only: 1 if a click inside the window was delivered
    pa.field("click_probability", pa.float64()),  # impressions only, and only where the truth is known
]
LEDGER_SCHEMA = pa.schema(_FIELDS)

_ROWS_PER_GROUP = 5_000


class LedgerRow(msgspec.Struct, kw_only=True):
    """One delivered record; the fields are the columns of `LEDGER_SCHEMA`."""

    kind: RecordKind
    partition: int
    offset: int
    event_time_ms: int
    impression_id: str | None
    click_id: str | None
    label: int | None
    click_probability: float | None


class LedgerWriter:
    """Writes a ledger row group by row group; it can be read once it is closed.

    Args:
        path: Parquet file to write; its directory is created.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._rows: list[LedgerRow] = []
        self._writer = pq.ParquetWriter(path, LEDGER_SCHEMA, compression="zstd")

    def append(self, row: LedgerRow) -> None:
        """Add one row."""
        self._rows.append(row)
        if len(self._rows) >= _ROWS_PER_GROUP:
            self._flush()

    def close(self) -> None:
        """Write what is left and the file's end."""
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        rows = [msgspec.structs.asdict(row) for row in self._rows]
        self._writer.write_table(pa.Table.from_pylist(rows, schema=LEDGER_SCHEMA))
        self._rows.clear()


def read_producer_ledger(path: Path) -> pa.Table:
    """Return a ledger as a table with the columns of `LEDGER_SCHEMA`.

    Raises:
        ValueError: it is not a complete ledger; the producer that wrote it may have been killed.
    """
    try:
        return decoded(path, _read, "a complete producer's ledger", path)
    except UndecodableError as error:
        raise ValueError(f"{error}; was the producer killed before its end?") from error


def _read(path: Path) -> pa.Table:
    table = pq.read_table(path, schema=LEDGER_SCHEMA)
    table.validate(full=True)
    return table
