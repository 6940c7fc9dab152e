import json

import numpy as np
import pytest

from tests.trainer.backtest.tiny import made_run, tiny_arm, tiny_stream, write_log
from trainer.backtest.runs.results import ResultsError, open_results, write_json
from trainer.backtest.runs.run import RunResult
from trainer.backtest.runs.streams import recorded_stream


@pytest.fixture
def stream(tmp_path):
    return tiny_stream(tmp_path)


def write_run(results, arm="arm", seed=0):
    run = made_run(arm, seed, num_rows=1_024)
    results.write_run(arm, seed, RunResult(run.rounds, run.predictions, is_complete=True), {"seconds": 1.5})
    return run


def test_a_run_is_complete_once_it_was_written(bert, stream, tmp_path):
    results = open_results(tmp_path / "out", stream, [tiny_arm(bert)], 1)
    assert not results.is_complete("arm", 0)
    run = write_run(results)
    assert results.is_complete("arm", 0)
    assert not results.is_complete("arm", 1)
    found = results.read_run("arm", 0)
    assert found.rounds == run.rounds
    assert np.array_equal(found.predictions.z_live, run.predictions.z_live)
    assert results.timing("arm", 0) == {"seconds": 1.5}


def test_a_run_that_fails_to_be_written_is_not_complete(bert, stream, tmp_path):
    results = open_results(tmp_path / "out", stream, [tiny_arm(bert)], 1)
    run = made_run(num_rows=1_024)
    with pytest.raises(TypeError):
        results.write_run("arm", 0, RunResult(run.rounds, run.predictions, is_complete=True), {"seconds": object()})
    assert not results.is_complete("arm", 0)
    assert list((tmp_path / "out" / "runs").iterdir()) == []


def test_the_same_backtest_may_go_on_in_its_directory_with_more_arms_and_seeds(bert, stream, tmp_path):
    arm = tiny_arm(bert)
    write_run(open_results(tmp_path / "out", stream, [arm], 1))
    again = open_results(tmp_path / "out", stream, [arm, tiny_arm(bert, "other")], 3)
    assert again.is_complete("arm", 0)
    assert json.loads((tmp_path / "out" / "backtest.json").read_text())["seeds"] == 3


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("budget", "arm arm scorer budget was 0.5 and is 0.25"),
        ("gate", "arm arm gate was "),
        ("arms", "arm arm is there and not asked for"),
        ("seeds", "it has 2 seeds, 1 are asked for"),
        ("log", "stream sha256 was "),
    ],
)
def test_another_backtest_is_refused_with_what_differs_and_the_remedy(bert, stream, tmp_path, change, told):
    open_results(tmp_path / "out", stream, [tiny_arm(bert)], 2)
    asked = {
        "budget": (stream, [tiny_arm(bert, budget=0.25)], 2),
        "gate": (stream, [tiny_arm(bert, gate=None)], 2),
        "arms": (stream, [tiny_arm(bert, "other")], 2),
        "seeds": (stream, [tiny_arm(bert)], 1),
        "log": (recorded_stream(write_log(tmp_path / "log2.jsonl", 1_199), warm_start_rows=200), [tiny_arm(bert)], 2),
    }[change]
    with pytest.raises(ResultsError) as refusal:
        open_results(tmp_path / "out", *asked)
    assert told in str(refusal.value)
    assert "name an empty directory with --out, or ask for the same again" in str(refusal.value)


def test_a_directory_of_something_else_is_refused(bert, stream, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "precious").touch()
    with pytest.raises(ResultsError, match="is no directory of a backtest and not empty"):
        open_results(tmp_path / "out", stream, [tiny_arm(bert)], 1)


def test_json_is_whole_or_not_there(tmp_path):
    with pytest.raises(ValueError, match="nan"):
        write_json(tmp_path / "summary.json", {"auc": float("nan")})
    assert not (tmp_path / "summary.json").exists()
    write_json(tmp_path / "summary.json", {"auc": 0.5})
    assert json.loads((tmp_path / "summary.json").read_text()) == {"auc": 0.5}


def test_what_runs_shared_goes(bert, stream, tmp_path):
    results = open_results(tmp_path / "out", stream, [tiny_arm(bert)], 1)
    results.cache("key").mkdir(parents=True)
    results.drop_cache()
    assert not (tmp_path / "out" / "cache").exists()
