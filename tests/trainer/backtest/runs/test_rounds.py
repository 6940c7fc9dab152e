import msgspec
import numpy as np
import pyarrow.parquet as pq
import pytest

from scorer.measures.auc import auc
from tests.trainer.backtest.tiny import made_round, tiny_arm, tiny_stream
from trainer.backtest.runs.rounds import Round, all_rounds_table, read_rounds, rounds_table
from trainer.backtest.runs.run import run_arm


@pytest.fixture(scope="module")
def result(bert, tmp_path_factory):
    return run_arm(tiny_arm(bert, strategy="gradnorm_is"), tiny_stream(tmp_path_factory.mktemp("log")), 0)


def test_a_round_tells_of_its_rows_alone(result):
    for one in result.rounds:
        rows = result.predictions.take(slice(one.first_row - 200, one.first_row - 200 + one.rows))
        assert one.clicks == rows.label.sum()
        assert one.auc_live == pytest.approx(auc(rows.z_live, rows.label))
        assert one.auc_frozen == pytest.approx(auc(rows.z_frozen, rows.label))
        assert one.auc_limit is None


def test_forward_rows_are_those_scored_judged_and_looked_at(result):
    looked = 3 * 32  # three steps of the ladder
    assert [one.forward_rows for one in result.rounds[:3]] == [100, 200 + looked, 200 + looked]


def test_shares_are_those_of_the_ladder_and_sum_to_one(result):
    shares = [(one.share_anchor, one.share_steady, one.share_newest) for one in result.rounds]
    assert [sum(one) for one in shares] == pytest.approx([1.0] * len(shares))
    assert len(set(shares)) == len(shares)


def test_weights_and_probabilities_are_those_of_the_strategy(result):
    for one in result.rounds:
        assert one.weight_p05 <= one.weight_p50 <= one.weight_p95 <= one.weight_max
        assert 1 < one.effective_sample_size <= one.backward_rows <= one.rows
        assert 0.3 < one.mean_inclusion_probability < 0.7
        assert one.variance_ratio > 1


def test_stability_is_there_when_the_probe_was_looked_at(result):
    looked = [one.round for one in result.rounds if one.stability_spearman is not None]
    assert looked == [4, 6, 8, 10]


def test_rounds_come_back_as_they_were_written(tmp_path):
    rounds = [made_round(), made_round(round=2, auc_limit=0.8, gate_decision=None, stability_spearman=0.9)]
    pq.write_table(rounds_table(rounds), tmp_path / "rounds.parquet")
    assert read_rounds(tmp_path / "rounds.parquet") == rounds


def test_the_rounds_of_all_runs_name_arm_and_seed():
    table = all_rounds_table([("a", 0, [made_round()]), ("b", 3, [made_round(), made_round(round=2)])])
    assert table.column("arm").to_pylist() == ["a", "b", "b"]
    assert table.column("seed").to_pylist() == [0, 3, 3]
    assert table.column_names == ["arm", "seed", *Round.__struct_fields__]


def test_nothing_that_is_not_a_number_gets_into_a_round(bert, tmp_path):
    stream = tiny_stream(tmp_path, 1_200)
    result = run_arm(tiny_arm(bert, strategy="no_update"), stream, 0)
    for one in result.rounds:
        values = [value for value in msgspec.structs.astuple(one) if isinstance(value, float)]
        assert np.isfinite(values).all()
        assert one.weight_p50 is None
