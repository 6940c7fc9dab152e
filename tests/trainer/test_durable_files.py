import pytest

from trainer.durable_files import remove_directory, sha256, sync_directory, write_directory_durably, write_durably


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
    sync_directory(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_digest_is_sha256():
    assert sha256(b"").startswith("e3b0c44298fc1c14")
