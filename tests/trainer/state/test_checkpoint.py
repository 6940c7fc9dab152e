import msgspec
import pytest
import torch

from scorer.model.feature_spec import FeatureSpec
from stream.disk.durable_files import StorageError
from tests.full_disk import no_file_larger_than, no_right_to_read
from trainer.state.checkpoint import (
    FORMAT,
    Checkpoint,
    CheckpointError,
    CheckpointManifest,
    CheckpointStore,
    checkpoint_store,
    current_line,
    load_latest,
    set_current_line,
)
from trainer.state.contract import Contract
from trainer.state.line_state import LineState

LINE = "0badcafe"


def checkpoint(update, champion_checkpoint=None):
    contract = Contract(pretrained="tiny", tokenizer_sha256="0" * 64, features=FeatureSpec(), partitions=2)
    state = LineState(
        line=LINE,
        contract=contract,
        offsets={0: update, 1: 2 * update},
        champion=f"{LINE}-000000",
        lineage=f"{LINE}-000000",
        update=update,
        champion_checkpoint=champion_checkpoint,
    )
    return Checkpoint(state, {"weights/a": torch.full((3,), float(update))}, b"rows")


@pytest.fixture
def store(tmp_path):
    return CheckpointStore(tmp_path, keep=2)


def test_what_is_written_is_loaded(store):
    name, size = store.write(checkpoint(1))
    loaded = store.load_latest()
    assert (loaded.name, loaded.state.offsets, loaded.replay) == (name, {0: 1, 1: 2}, b"rows")
    assert torch.equal(loaded.tensors["weights/a"], torch.ones(3))
    assert size > 0


def test_the_newest_is_loaded(store):
    for update in (1, 2):
        store.write(checkpoint(update))
    assert store.load_latest().state.update == 2


@pytest.mark.parametrize("file", ["state.json", "tensors.safetensors", "replay.bin", "manifest.json"])
def test_a_damaged_checkpoint_is_passed_over_and_named(store, tmp_path, file):
    store.write(checkpoint(1))
    name, _ = store.write(checkpoint(2))
    path = tmp_path / name / file
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    loaded = store.load_latest()
    assert loaded.state.update == 1
    assert len(loaded.damaged) == 1
    assert name in loaded.damaged[0]


def test_a_missing_file_makes_a_checkpoint_incomplete(store, tmp_path):
    store.write(checkpoint(1))
    name, _ = store.write(checkpoint(2))
    (tmp_path / name / "replay.bin").unlink()
    assert store.load_latest().state.update == 1


def test_a_half_written_checkpoint_is_no_checkpoint(store, tmp_path):
    store.write(checkpoint(1))
    partial = tmp_path / ".checkpoint-0000000001.partial"
    partial.mkdir()
    (partial / "state.json").write_bytes(b"{}")
    assert store.load_latest().state.update == 1
    assert store.write(checkpoint(2))[0] == "checkpoint-0000000001"


def test_only_the_newest_are_kept(store):
    for update in range(5):
        store.write(checkpoint(update))
    assert store.names() == ["checkpoint-0000000003", "checkpoint-0000000004"]


def test_the_champions_checkpoint_stays_as_long_as_it_is_named(store):
    store.write(checkpoint(0))
    for update in range(1, 5):
        store.write(checkpoint(update, "checkpoint-0000000000"))
    assert "checkpoint-0000000000" in store.names()
    store.write(checkpoint(5, "checkpoint-0000000004"))
    assert "checkpoint-0000000000" not in store.names()


def test_without_a_usable_checkpoint_the_remedy_is_named(store):
    with pytest.raises(CheckpointError, match="millstream models init"):
        store.load_latest()


def test_a_newer_format_is_refused(store, tmp_path):
    name, _ = store.write(checkpoint(1))
    path = tmp_path / name / "manifest.json"
    manifest = msgspec.json.decode(path.read_bytes(), type=CheckpointManifest)
    path.write_bytes(msgspec.json.encode(msgspec.structs.replace(manifest, format=FORMAT + 1)))
    with pytest.raises(CheckpointError, match="upgrade Millstream"):
        store.load(name)


def test_the_current_line_is_the_one_named_last(tmp_path):
    with pytest.raises(CheckpointError, match="millstream models init"):
        current_line(tmp_path)
    set_current_line(tmp_path, LINE)
    assert current_line(tmp_path) == LINE


def test_the_newest_checkpoint_of_the_current_line_shows_its_offsets(tmp_path):
    checkpoint_store(tmp_path, LINE).write(checkpoint(3))
    set_current_line(tmp_path, LINE)
    assert load_latest(tmp_path).state.offsets == {0: 3, 1: 6}


def test_a_full_disk_is_told_and_leaves_the_checkpoints_there_are(store, tmp_path):
    store.write(checkpoint(1))
    with no_file_larger_than(100), pytest.raises(StorageError, match=r"checkpoint-0000000001: [\d,]+ bytes wanted"):
        store.write(checkpoint(2))
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-0000000000"]
    assert store.load_latest().state.update == 1


def test_a_checkpoint_that_may_not_be_read_is_not_passed_over_for_an_older_one(store, tmp_path):
    store.write(checkpoint(1))
    name, _ = store.write(checkpoint(2))
    with no_right_to_read(tmp_path / name / "state.json"), pytest.raises(StorageError, match="the right to read"):
        store.load(name)
    assert store.load_latest().state.update == 2


def test_a_stray_file_or_directory_is_no_checkpoint(store, tmp_path):
    (tmp_path / "checkpoint-0000000000").write_text("mine")
    (tmp_path / "checkpoint-0000000001" / "deeper").mkdir(parents=True)
    for update in range(4):
        store.write(checkpoint(update))
    assert store.load_latest().state.update == 3
    assert store.names() == ["checkpoint-0000000004", "checkpoint-0000000005"]


@pytest.mark.parametrize("name", [b"\xff\xfe", b"../elsewhere", b"..", b""])
def test_a_line_that_cannot_be_one_is_refused_by_name(tmp_path, name):
    (tmp_path / "line").write_bytes(name)
    with pytest.raises(CheckpointError, match="line"):
        current_line(tmp_path)
