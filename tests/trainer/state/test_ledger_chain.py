import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stream.disk.durable_files import sha256
from tests.trainer.rig import read_segments
from trainer.state.failpoints import Failpoints
from trainer.state.ledger_chain import FAN_IN, TOP_LEVEL, chain_tables, merge_segments, sweep_segments
from trainer.state.ledger_segments import SCHEMA, LedgerRow, SegmentReference, write_segment


def row(update):
    return LedgerRow(f"impression-{update}", 0, "trained", update, 0.5, 1, update)


def grow(directory, updates, last=None):
    """Add updates as the trainer does, and return the last segment after each."""
    references = []
    for update in updates:
        last = merge_segments(directory, write_segment(directory, update, [row(update)], last))
        references.append(last)
    return references


def sweep(directory, *roots):
    sweep_segments(directory, roots, Failpoints())


def updates_of(directory, last):
    return read_segments(directory, last)["update"].to_pylist()


def files(directory):
    return sorted(path.name for path in directory.iterdir())


def older_chain(directory, num_updates):
    """Write segments as a release did that merged none."""
    last = None
    for update in range(1, num_updates + 1):
        previous = b"null" if last is None else f'{{"name":"{last.name}","sha256":"{last.sha256}"}}'.encode()
        arrays = [pa.array([value], type=field.type) for value, field in zip(row(update), SCHEMA, strict=True)]
        schema = SCHEMA.with_metadata({b"millstream.previous_segment": previous})
        path = directory / f"update-{update:08d}.parquet"
        pq.write_table(pa.table(arrays, schema=schema), path, compression="zstd")
        last = SegmentReference(path.name, sha256(path.read_bytes()))
    return last


def test_merged_segments_hold_every_row_in_order(tmp_path):
    for update, last in enumerate(grow(tmp_path, range(1, 71)), 1):
        if update % 7 == 0 or update in {FAN_IN, FAN_IN**2, FAN_IN**3}:
            assert updates_of(tmp_path, last) == list(range(1, update + 1))


def test_a_swept_ledger_has_few_files_however_many_updates_there_were(tmp_path):
    last = grow(tmp_path, range(1, 301))[-1]
    sweep(tmp_path, last)
    assert len(files(tmp_path)) <= (FAN_IN - 1) * TOP_LEVEL
    assert updates_of(tmp_path, last) == list(range(1, 301))


def test_what_an_older_checkpoint_leads_to_is_not_swept(tmp_path):
    references = grow(tmp_path, range(1, 20))
    sweep(tmp_path, *references[-6:])
    for update, last in list(enumerate(references, 1))[-6:]:
        assert updates_of(tmp_path, last) == list(range(1, update + 1))


def test_a_merge_that_no_checkpoint_came_to_know_is_repeated(tmp_path):
    before = grow(tmp_path, range(1, FAN_IN))[-1]
    merged = grow(tmp_path, [FAN_IN], before)[-1]
    sweep(tmp_path, before)
    assert merged.name not in files(tmp_path)
    assert grow(tmp_path, [FAN_IN], before)[-1] == merged
    assert updates_of(tmp_path, merged) == list(range(1, FAN_IN + 1))


def test_a_sweep_that_was_cut_short_is_finished_by_the_next(tmp_path):
    class CrashError(Exception):
        pass

    class Crash(Failpoints):
        def pass_through(self, name):
            raise CrashError(name)

    last = grow(tmp_path, range(1, 18))[-1]
    (tmp_path / ".update-00000018.parquet.partial").write_bytes(b"half")
    with pytest.raises(CrashError):
        sweep_segments(tmp_path, [last], Crash())
    sweep(tmp_path, last)
    assert files(tmp_path) == ["update-00000017.parquet", "updates-2-00000016.parquet"]
    assert updates_of(tmp_path, last) == list(range(1, 18))


def test_a_damaged_part_is_left_as_it_is_and_stops_no_update(tmp_path):
    before = grow(tmp_path, range(1, FAN_IN))[-1]
    (tmp_path / "update-00000002.parquet").write_bytes(b"torn")
    last = grow(tmp_path, range(FAN_IN, 4 * FAN_IN), before)[-1]
    with pytest.raises(ValueError, match=r"update-00000002\.parquet"):
        read_segments(tmp_path, last)
    sweep(tmp_path, last)
    assert "update-00000001.parquet" in files(tmp_path)


def test_what_is_newer_than_a_damaged_segment_can_still_be_read(tmp_path):
    last = grow(tmp_path, range(1, FAN_IN))[-1]
    (tmp_path / "update-00000002.parquet").write_bytes(b"torn")
    problems = []
    tables = list(chain_tables(tmp_path, last, problems.append))
    assert pa.concat_tables(tables)["update"].to_pylist() == [3]
    assert "update-00000002.parquet" in problems[0]


def test_segments_of_an_older_release_are_read_and_folded_into_one(tmp_path):
    old = older_chain(tmp_path, 10)
    assert updates_of(tmp_path, old) == list(range(1, 11))
    last = grow(tmp_path, range(11, 14), old)[-1]
    assert updates_of(tmp_path, last) == list(range(1, 14))
    sweep(tmp_path, last)
    assert len(files(tmp_path)) == 4
    assert updates_of(tmp_path, last) == list(range(1, 14))


def test_a_damaged_ledger_of_an_older_release_stops_no_update(tmp_path):
    old = older_chain(tmp_path, 10)
    (tmp_path / "update-00000004.parquet").unlink()
    last = grow(tmp_path, [11, 12], old)[-1]
    with pytest.raises(ValueError, match="missing"):
        read_segments(tmp_path, last)
