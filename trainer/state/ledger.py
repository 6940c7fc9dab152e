"""Reading the ledger: what became of every row that reached the trainer."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import structlog

from trainer.state.checkpoint import CheckpointError, checkpoint_store, current_line, line_directory
from trainer.state.ledger_chain import chain_tables
from trainer.state.ledger_segments import LINE_SCHEMA


def read_ledger(trainer_dir: Path) -> pa.Table:
    """Return every ledger row of every model line, as the newest complete checkpoint of each line leads to it.

    Returns:
        Columns impression_id, revision, outcome (trained, sampled_out, failed, repeat, late, replayed), update, weight,
        source_partition, source_offset, line; oldest update first within a line. Empty before the first update.

    Raises:
        ValueError: a segment of the present line is missing or was changed, or it has no usable checkpoint.
    """
    return pa.concat_tables([LINE_SCHEMA.empty_table(), *ledger_tables(trainer_dir)])


def ledger_tables(trainer_dir: Path) -> Iterator[pa.Table]:
    """Yield what `read_ledger` returns, a bounded number of rows at a time.

    Of a line that is no longer learned, what is damaged and all that is older is left out, with a line in the log.

    Raises:
        ValueError: as `read_ledger`.
    """
    for checkpoints in sorted(trainer_dir.glob("*/checkpoints")):
        line = checkpoints.parent.name
        try:
            is_present = line == current_line(trainer_dir)
        except CheckpointError:
            is_present = False
        for table in _line_tables(trainer_dir, line, is_present=is_present):
            lines = pa.array([line] * len(table), type=pa.string())
            yield table.append_column(LINE_SCHEMA.field("line"), lines)


def ledger_directory(trainer_dir: Path, line: str) -> Path:
    """Return where the segments of a line are."""
    return line_directory(trainer_dir, line) / "ledger"


def _line_tables(trainer_dir: Path, line: str, *, is_present: bool) -> Iterator[pa.Table]:
    def damaged(message: str) -> None:
        structlog.get_logger(__name__).warning("old_ledger_damaged", line=line, message=message)

    try:
        last = checkpoint_store(trainer_dir, line).load_latest().state.ledger
    except CheckpointError as error:
        if is_present:
            raise
        damaged(str(error))
        return
    yield from chain_tables(ledger_directory(trainer_dir, line), last, None if is_present else damaged)
