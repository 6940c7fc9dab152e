import errno
import re

import pytest

from stream.disk.durable_files import (
    StorageError,
    free_bytes,
    remove_directory,
    sha256,
    storing,
    sweep_leftovers,
    sync,
    write_directory_durably,
    write_durably,
)
from tests.full_disk import no_file_larger_than


def test_a_file_is_replaced_whole(tmp_path):
    for content in (b"old", b"new"):
        write_durably(tmp_path / "file", content)
        assert (tmp_path / "file").read_bytes() == content
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_directory_is_invisible_until_all_of_it_is_on_disk(tmp_path):
    seen = []
    write_directory_durably(
        tmp_path / "unit", {"a": b"1", "b": b"2"}, before_rename=lambda: seen.append((tmp_path / "unit").exists())
    )
    assert seen == [False]
    assert sorted(path.name for path in (tmp_path / "unit").iterdir()) == ["a", "b"]


def test_what_a_crash_left_half_written_is_written_over(tmp_path):
    def crash():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_directory_durably(tmp_path / "unit", {"a": b"1", "rest": b"2"}, before_rename=crash)
    write_directory_durably(tmp_path / "unit", {"a": b"3"}, before_rename=lambda: None)
    assert [path.read_bytes() for path in (tmp_path / "unit").iterdir()] == [b"3"]
    assert [path.name for path in tmp_path.iterdir()] == ["unit"]


def test_a_removed_directory_is_gone(tmp_path):
    write_directory_durably(tmp_path / "unit", {"a": b"1"}, before_rename=lambda: None)
    remove_directory(tmp_path / "unit")
    sync(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_digest_is_sha256():
    assert sha256(b"").startswith("e3b0c44298fc1c14")


def test_a_full_disk_names_path_bytes_wanted_and_bytes_free_and_leaves_the_old_file(tmp_path):
    write_durably(tmp_path / "file", b"old")
    with no_file_larger_than(100), pytest.raises(StorageError) as refused:
        write_durably(tmp_path / "file", b"x" * 5_000)
    message = str(refused.value)
    assert re.search(rf"cannot write {tmp_path}/file: 5,000 bytes wanted, [\d,]+ free", message)
    assert "MILLSTREAM_HOME" in message
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("file", b"old")]


def test_a_full_disk_leaves_nothing_of_a_new_directory(tmp_path):
    with no_file_larger_than(100), pytest.raises(StorageError, match="5,003 bytes wanted"):
        write_directory_durably(tmp_path / "unit", {"a": b"123", "b": b"x" * 5_000}, before_rename=lambda: None)
    assert list(tmp_path.iterdir()) == []


def test_a_full_file_system_is_told_with_what_is_free_on_it(tiny_disk):
    with pytest.raises(StorageError, match="bytes wanted") as refused:
        write_durably(tiny_disk / "file", b"x" * 2**20)
    assert "no space left" in str(refused.value)
    assert list(tiny_disk.iterdir()) == []
    assert free_bytes(tiny_disk / "file") > 0


@pytest.mark.parametrize(("place", "remedy"), [("missing/file", "mounted"), ("a-file/file", "a file stands")])
def test_what_else_keeps_state_from_the_disk_is_one_line_with_its_remedy(tmp_path, place, remedy):
    (tmp_path / "a-file").write_bytes(b"")
    with pytest.raises(StorageError, match=remedy) as refused:
        write_durably(tmp_path / place, b"x")
    assert str(tmp_path / place) in str(refused.value)


def test_a_read_only_file_system_is_one_line_with_its_remedy(tmp_path):
    with pytest.raises(StorageError, match="read-only file system; mount it for writing"), storing(tmp_path):
        raise OSError(errno.EROFS, "Read-only file system")


def test_what_crashes_left_is_swept_and_nothing_else(tmp_path):
    (tmp_path / "line").mkdir()
    for name in (".checkpoint-1.partial", "line/.checkpoint-2.removed"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "state.json").write_bytes(b"{}")
    (tmp_path / "line" / ".plan.json.partial").write_bytes(b"half")
    write_durably(tmp_path / "line" / "plan.json", b"{}")
    sweep_leftovers(tmp_path)
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")) == ["line", "line/plan.json"]


def test_a_removal_that_was_cut_short_does_not_hinder_the_next(tmp_path):
    for _ in range(2):
        write_directory_durably(tmp_path / "unit", {"a": b"1"}, before_rename=lambda: None)
        (tmp_path / ".unit.removed").mkdir(exist_ok=True)
        (tmp_path / ".unit.removed" / "rest").write_bytes(b"1")
        remove_directory(tmp_path / "unit")
    assert list(tmp_path.iterdir()) == []
