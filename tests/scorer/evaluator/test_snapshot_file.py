from pathlib import Path

import numpy as np
import pytest
from structlog.testing import capture_logs

from scorer.evaluator.process import read_state
from scorer.evaluator.settings import EvaluatorSettings
from scorer.evaluator.snapshot_file import Snapshot, read_snapshot, write_snapshot
from scorer.evaluator.state import ProgressiveEvaluator
from stream.codec import UndecodableError
from stream.disk.durable_files import StorageError
from tests.full_disk import no_file_larger_than


def snapshot(number: int) -> Snapshot:
    arrays = {"copies.hashes": np.array([number], dtype=np.uint64), "names": np.array(["v1", "v2"])}
    return Snapshot(topic="millstream.weighted-examples", offsets={0: number, 1: 7}, arrays=arrays)


def test_a_snapshot_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "evaluator" / "snapshot.npz"
    write_snapshot(path, snapshot(2**63))
    found = read_snapshot(path)
    assert found is not None
    assert (found.topic, found.offsets) == ("millstream.weighted-examples", {0: 2**63, 1: 7})
    assert found.arrays["copies.hashes"].tolist() == [2**63]
    assert found.arrays["names"].tolist() == ["v1", "v2"]


def test_a_later_snapshot_replaces_the_earlier_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "snapshot.npz"
    write_snapshot(path, snapshot(1))
    write_snapshot(path, snapshot(2))
    found = read_snapshot(path)
    assert found is not None
    assert found.offsets[0] == 2
    assert list(tmp_path.iterdir()) == [path]


def test_without_a_snapshot_there_is_none(tmp_path: Path) -> None:
    assert read_snapshot(tmp_path / "snapshot.npz") is None


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 torn", b"no archive"])
def test_a_torn_snapshot_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "snapshot.npz"
    path.write_bytes(content)
    with pytest.raises(UndecodableError, match=r"snapshot\.npz.* is not a snapshot"):
        read_snapshot(path)


def test_half_a_snapshot_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "snapshot.npz"
    write_snapshot(path, snapshot(1))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UndecodableError, match=r"snapshot\.npz.* is not a snapshot"):
        read_snapshot(path)


def test_a_full_disk_is_told_and_leaves_the_snapshot_there_is(tmp_path):
    path = tmp_path / "snapshot.npz"
    write_snapshot(path, Snapshot(topic="t", offsets={0: 1}, arrays={"a": np.zeros(3)}))
    with no_file_larger_than(100), pytest.raises(StorageError, match=r"snapshot.npz: [\d,]+ bytes wanted"):
        write_snapshot(path, Snapshot(topic="t", offsets={0: 2}, arrays={"a": np.zeros(3)}))
    assert read_snapshot(path).offsets == {0: 1}


@pytest.mark.parametrize("damage", ["torn", "lacks an array"])
def test_a_damaged_snapshot_is_kept_aside_and_all_rows_are_judged_again(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "snapshot.npz"
    arrays = dict(ProgressiveEvaluator(EvaluatorSettings()).snapshot())
    if damage == "lacks an array":
        del arrays["window.query"]
    write_snapshot(path, Snapshot(topic="t", offsets={0: 1}, arrays=arrays))
    if damage == "torn":
        path.write_bytes(path.read_bytes()[:-100])
    with capture_logs() as logs:
        assert read_state(path, EvaluatorSettings()) is None
    assert [line["event"] for line in logs] == ["snapshot_dropped"]
    assert str(path) in logs[0]["why"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["snapshot.damaged"]
