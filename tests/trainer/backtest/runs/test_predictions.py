import numpy as np
import pyarrow.parquet as pq

from tests.trainer.backtest.tiny import made_run
from trainer.backtest.runs.predictions import joined, read_predictions, write_predictions


def test_rows_come_back_as_they_were_written(tmp_path):
    predictions = made_run(num_rows=100, limit=True).predictions
    write_predictions(predictions, tmp_path / "rows.parquet")
    found = read_predictions(tmp_path / "rows.parquet")
    for name, values in vars(predictions).items():
        assert np.array_equal(getattr(found, name), values)
        assert getattr(found, name).dtype == values.dtype


def test_what_is_not_known_is_null_in_the_file_and_nan_in_memory(tmp_path):
    predictions = made_run(num_rows=10).predictions
    write_predictions(predictions, tmp_path / "rows.parquet")
    assert pq.read_table(tmp_path / "rows.parquet").column("click_probability").null_count == 10
    assert np.isnan(read_predictions(tmp_path / "rows.parquet").click_probability).all()


def test_a_file_from_before_served_scores_were_kept_is_read(tmp_path):
    path = tmp_path / "rows.parquet"
    write_predictions(made_run(num_rows=10).predictions, path)
    pq.write_table(pq.read_table(path).drop_columns("z_served"), path)
    found = read_predictions(path)
    assert np.isnan(found.z_served).all()
    assert len(found) == 10


def test_the_same_rows_are_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        write_predictions(made_run(num_rows=100).predictions, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_parts_are_joined_in_order():
    predictions = made_run(num_rows=10).predictions
    again = joined([predictions.take(slice(0, 4)), predictions.take(slice(4, 10))])
    assert np.array_equal(again.index, predictions.index)
    assert len(again) == 10
