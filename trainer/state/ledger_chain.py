"""The ledger's chain of segments: grown by one an update, merged so that it stays short, and swept.

A checkpoint names the last segment by digest and that one the segment before it, so the chain is part of the
checkpoint's unit. A segment that no checkpoint leads to was written by an update that a crash undid, or was merged: it
is ignored, overwritten when the update runs again, or swept.

Four segments of one level become one of the next, up to level 6: a line has at most 18 small files, and one more for
every 4,096 updates. A merge writes a new file and touches no other, so a crash at any moment leaves a chain that the
newest checkpoint leads to. The parts stay until no checkpoint that is kept leads to them.
"""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import structlog

from trainer.state.failpoints import Failpoints
from trainer.state.ledger_segments import (
    SegmentHeader,
    SegmentReference,
    header_after,
    open_segment,
    read_header,
    segment_tables,
    write_tables,
)

FAN_IN = 4
TOP_LEVEL = 6
_UPDATES_OF_TOP = FAN_IN**TOP_LEVEL


def merge_segments(directory: Path, last: SegmentReference) -> SegmentReference:
    """Merge what is due at the end of a chain, and return its last segment.

    What is damaged is not merged and stops nothing: whoever reads the ledger will say so.
    """
    try:
        header = read_header(directory, last)
        if header.place == 1 and header.level == 0:
            last = _fold_older_release(directory, last, header)
        while header.level is not None and header.level < TOP_LEVEL and header.place % FAN_IN == 0:
            parts = _back_from(directory, last, FAN_IN)
            previous = read_header(directory, parts[0]).previous
            last = _merge(directory, parts, header_after(directory, previous, level=header.level + 1))
            header = read_header(directory, last)
    except ValueError as error:
        structlog.get_logger(__name__).error("ledger_not_merged", message=str(error))
    return last


def sweep_segments(directory: Path, roots: Iterable[SegmentReference | None], failpoints: Failpoints) -> None:
    """Remove the segments that no root leads to; nothing while a chain cannot be followed.

    Args:
        directory: Of the segments.
        roots: Last segments by every checkpoint that is kept.
        failpoints: Where tests crash.
    """
    reached: set[str] = set()
    try:
        for root in roots:
            reached |= _merging_names(directory, root)
    except ValueError as error:
        structlog.get_logger(__name__).error("ledger_not_swept", message=str(error))
        return
    for path in (*directory.glob("update*.parquet"), *directory.glob(".update*.partial")):
        if path.name not in reached and not _is_top(path.name):
            path.unlink(missing_ok=True)
            failpoints.pass_through("segment_removed")


def chain_tables(
    directory: Path, last: SegmentReference | None, damaged: Callable[[str], None] | None = None
) -> Iterator[pa.Table]:
    """Yield every row of the chain that ends in `last`, oldest update first, a bounded number at a time.

    Args:
        directory: Of the segments.
        last: Where the chain ends.
        damaged: Takes what is wrong with a segment; what is older is then left out.

    Raises:
        ValueError: a segment is missing or is not the one that was referenced, and nothing takes that.
    """
    sources: list[Path | bytes] = []
    try:
        while last is not None:
            source, header = open_segment(directory, last, whole=not _is_top(last.name))
            sources.append(source)
            last = header.previous
    except ValueError as error:
        if damaged is None:
            raise
        damaged(str(error))
    for source in reversed(sources):
        yield from segment_tables(source)


def _back_from(directory: Path, last: SegmentReference, count: int | None = None) -> list[SegmentReference]:
    """Return the last segments of a chain, or all of them, oldest first."""
    found: list[SegmentReference] = []
    reference: SegmentReference | None = last
    while reference is not None and len(found) != count:
        found.append(reference)
        reference = read_header(directory, reference).previous
    return found[::-1]


def _merge(directory: Path, parts: list[SegmentReference], header: SegmentHeader) -> SegmentReference:
    number = parts[-1].name.removesuffix(".parquet").rpartition("-")[2]
    opened = (open_segment(directory, part, whole=True)[0] for part in parts)
    tables = (table for source in opened for table in segment_tables(source))
    return write_tables(directory, f"updates-{header.level}-{number}.parquet", tables, header)


def _fold_older_release(directory: Path, last: SegmentReference, header: SegmentHeader) -> SegmentReference:
    """Merge the segments that an older release left, one an update, and return `last` as it then names them."""
    if header.previous is None or read_header(directory, header.previous).level is not None:
        return last
    parts = _back_from(directory, header.previous)
    folded: SegmentReference | None = None
    for first in range(0, len(parts), _UPDATES_OF_TOP):
        follows = header_after(directory, folded, level=TOP_LEVEL)
        folded = _merge(directory, parts[first : first + _UPDATES_OF_TOP], follows)
    rows = list(segment_tables(directory / last.name))
    return write_tables(directory, last.name, rows, SegmentHeader(folded, 0, 1))


def _merging_names(directory: Path, root: SegmentReference | None) -> set[str]:
    """Return the segments that a root leads to, down to the first that is never merged again."""
    names: set[str] = set()
    while root is not None:
        names.add(root.name)
        root = read_header(directory, root).previous if not _is_top(root.name) else None
    return names


def _is_top(name: str) -> bool:
    return name.startswith(f"updates-{TOP_LEVEL}-")
