"""Reading the ledger: what became of every row that reached the trainer."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from trainer.checkpoint import checkpoint_store, line_directory
from trainer.ledger_segments import LINE_SCHEMA, read_segments


def read_ledger(trainer_dir: Path) -> pa.Table:
    """Return every ledger row of every model line, as the newest complete checkpoint of each line leads to it.

    Returns:
        Columns impression_id, revision, outcome (trained, sampled_out, repeat, late, replayed), update, weight,
        source_partition, source_offset, line; oldest update first within a line. Empty before the first update.

    Raises:
        ValueError: a segment is missing or was changed, or a line has no usable checkpoint.
    """
    tables = [LINE_SCHEMA.empty_table()]
    for checkpoints in sorted(trainer_dir.glob("*/checkpoints")):
        line = checkpoints.parent.name
        state = checkpoint_store(trainer_dir, line).load_latest().state
        table = read_segments(ledger_directory(trainer_dir, line), state.ledger)
        tables.append(table.append_column(LINE_SCHEMA.field("line"), pa.array([line] * len(table), type=pa.string())))
    return pa.concat_tables(tables)


def ledger_batches(trainer_dir: Path) -> Iterator[pa.Table]:
    """Yield what `read_ledger` returns, a segment at a time."""
    yield read_ledger(trainer_dir)


def ledger_directory(trainer_dir: Path, line: str) -> Path:
    """Return where the segments of a line are."""
    return line_directory(trainer_dir, line) / "ledger"
