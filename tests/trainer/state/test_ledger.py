import shutil
from collections import Counter

import pytest

from tests.trainer.rig import Rig, recorded_log
from trainer.settings import GateSettings, TrainerSettings
from trainer.state.ledger import read_ledger


def test_every_row_of_the_log_is_in_the_ledger_once(tmp_path):
    records = recorded_log(300)
    rig = Rig(tmp_path, records)
    rig.run_to_end()
    ledger = read_ledger(rig.trainer_dir).to_pylist()
    logged = Counter(row.labeled.impression.impression_id for record in records for row in record.rows)
    assert Counter(row["impression_id"] for row in ledger) == logged


def test_no_id_teaches_as_new_twice(tmp_path):
    rig = Rig(tmp_path, recorded_log(300))
    rig.run_to_end()
    first = Counter(
        row["impression_id"]
        for row in read_ledger(rig.trainer_dir).to_pylist()
        if row["outcome"] in {"trained", "sampled_out"}
    )
    assert set(first.values()) == {1}


def test_before_any_line_the_ledger_is_empty(tmp_path):
    assert read_ledger(tmp_path).column_names == [
        *("impression_id", "revision", "outcome", "update", "weight", "source_partition", "source_offset", "line")
    ]


def test_a_damaged_ledger_of_an_older_line_hides_no_row_of_the_present_one(tmp_path):
    rig = Rig(tmp_path, recorded_log(100))
    rig.run_to_end()
    num_rows = read_ledger(rig.trainer_dir).num_rows
    shutil.copytree(rig.trainer_dir / "00000000", rig.trainer_dir / "11111111")
    for segment in (rig.trainer_dir / "11111111" / "ledger").iterdir():
        segment.write_bytes(b"torn")
    assert read_ledger(rig.trainer_dir).num_rows == num_rows
    for segment in (rig.trainer_dir / "00000000" / "ledger").iterdir():
        segment.write_bytes(b"torn")
    with pytest.raises(ValueError, match="ledger segment"):
        read_ledger(rig.trainer_dir)


def test_a_line_of_many_updates_leaves_few_ledger_files(tmp_path):
    settings = TrainerSettings(update_rows=8, batch_rows=8, warmup_steps=4, keep_checkpoints=2)
    rig = Rig(tmp_path, recorded_log(300), settings=settings, gate=GateSettings(min_clicks=1000))
    rig.run_to_end()
    num_updates = rig.trainer.line.state.update
    assert num_updates > 20
    assert len(list((rig.trainer_dir / "00000000" / "ledger").iterdir())) < num_updates / 2
    assert sorted(set(read_ledger(rig.trainer_dir)["update"].to_pylist())) == list(range(1, num_updates + 1))
