from collections import Counter

from tests.trainer.rig import Rig, recorded_log
from trainer.ledger import read_ledger


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
