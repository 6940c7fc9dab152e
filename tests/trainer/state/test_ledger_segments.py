import pytest

from tests.trainer.rig import read_segments
from trainer.state.ledger_segments import LedgerRow, SegmentReference, write_segment


def row(index, outcome="trained", update=1):
    return LedgerRow(f"impression-{index}", 0, outcome, update, 0.5, 1, index)


def chain(directory, num_updates):
    last = None
    for update in range(1, num_updates + 1):
        last = write_segment(directory, update, [row(update, update=update)], last)
    return last


def test_the_chain_is_read_oldest_first(tmp_path):
    table = read_segments(tmp_path, chain(tmp_path, 3))
    assert table["update"].to_pylist() == [1, 2, 3]


def test_before_the_first_update_the_ledger_is_empty(tmp_path):
    assert read_segments(tmp_path, None).num_rows == 0


def test_a_segment_no_checkpoint_leads_to_is_ignored_and_overwritten(tmp_path):
    last = chain(tmp_path, 2)
    write_segment(tmp_path, 3, [row(99, update=3)], last)
    assert read_segments(tmp_path, last)["update"].to_pylist() == [1, 2]
    again = write_segment(tmp_path, 3, [row(3, update=3)], last)
    assert read_segments(tmp_path, again)["impression_id"].to_pylist()[-1] == "impression-3"


def test_the_same_rows_give_the_same_bytes(tmp_path):
    references = [write_segment(tmp_path / str(n), 1, [row(1), row(2, "late")], None) for n in range(2)]
    assert references[0] == references[1]


def test_a_changed_segment_is_refused_by_name(tmp_path):
    last = chain(tmp_path, 2)
    write_segment(tmp_path, 1, [row(5)], None)
    with pytest.raises(ValueError, match=r"update-00000001\.parquet"):
        read_segments(tmp_path, last)


def test_a_missing_segment_is_refused_by_name(tmp_path):
    with pytest.raises(ValueError, match="missing"):
        read_segments(tmp_path, SegmentReference("update-00000001.parquet", "0" * 64))


def test_an_update_without_rows_leaves_an_empty_segment(tmp_path):
    assert read_segments(tmp_path, write_segment(tmp_path, 1, [], None)).num_rows == 0
