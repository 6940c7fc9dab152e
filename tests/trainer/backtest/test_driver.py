import json
import multiprocessing
import os
import shutil
import signal
from multiprocessing.popen_spawn_posix import Popen
from pathlib import Path

import pytest

from tests.trainer.backtest.tiny import tiny_arm, tiny_stream
from trainer.backtest.driver import RunFailedError, run_backtest, run_jobs
from trainer.backtest.runs.job import Job

OUTPUTS = {"backtest.json", "report.html", "rounds.parquet", "summary.json", "timing.json", "predictions", "runs"}


@pytest.fixture(scope="module")
def asked(bert, tmp_path_factory):
    arms = [tiny_arm(bert, "base"), tiny_arm(bert, "new", strategy="gradnorm_is")]
    return tiny_stream(tmp_path_factory.mktemp("log"), 6_000, warm_start_rows=400), arms


@pytest.fixture(scope="module")
def finished(asked, tmp_path_factory):
    stream, arms = asked
    out = tmp_path_factory.mktemp("backtest") / "out"
    run_backtest(stream, arms, num_seeds=1, directory=out, workers=2)
    return out


def content(directory: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file() and path.name != "timing.json"
    }


class Watcher:
    def begin(self, name: str) -> None:
        pass

    def advance(self, name: str, rows: int) -> None:
        pass

    def end(self, name: str) -> None:
        pass


@pytest.mark.slow
def test_it_leaves_report_summary_rounds_predictions_and_timing(finished):
    assert {path.name for path in finished.iterdir()} == OUTPUTS
    summary = json.loads((finished / "summary.json").read_text())
    assert [arm["arm"] for arm in summary["arms"]] == ["base", "new"]
    assert summary["arms"][1]["difference_to_uniform"]["low"] < summary["arms"][1]["difference_to_uniform"]["high"]
    timing = json.loads((finished / "timing.json").read_text())
    assert {(run["arm"], run["seed"]) for run in timing["runs"]} == {("base", 0), ("new", 0)}


@pytest.mark.slow
def test_the_same_seed_gives_the_same_bytes_whatever_the_number_of_workers(asked, finished, tmp_path):
    stream, arms = asked
    run_backtest(stream, arms, num_seeds=1, directory=tmp_path / "again", workers=1)
    assert content(tmp_path / "again") == content(finished)


@pytest.mark.slow
def test_what_was_lost_is_run_again_and_nothing_else(asked, finished, tmp_path):
    stream, arms = asked
    out = tmp_path / "out"
    shutil.copytree(finished, out)
    shutil.rmtree(out / "runs" / "new-0")
    kept = (out / "runs" / "base-0" / "timing.json").stat().st_mtime_ns
    run_backtest(stream, arms, num_seeds=1, directory=out, workers=1)
    assert (out / "runs" / "base-0" / "timing.json").stat().st_mtime_ns == kept
    assert content(out) == content(finished)


@pytest.mark.slow
def test_a_run_that_fails_is_named_and_the_complete_ones_stay(asked, finished, bert, tmp_path):
    stream, arms = asked
    out = tmp_path / "out"
    shutil.copytree(finished, out)
    broken = tiny_arm(bert, "broken", model=arms[0].model.model_copy(update={"num_layers": 7}))
    with pytest.raises(RunFailedError, match=r"arm broken, seed 0: model\.num_layers=7"):
        run_backtest(stream, [*arms, broken], num_seeds=1, directory=out, workers=1)
    assert (out / "runs" / "base-0").is_dir()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_a_run_is_being_started_ends_the_backtest_and_leaves_no_run(bert, tmp_path, monkeypatch, number):
    launch, born = Popen._launch, []

    def interrupted(self, process):
        launch(self, process)
        born.append(self.pid)
        os.kill(os.getpid(), number)

    monkeypatch.setattr(Popen, "_launch", interrupted)
    job = Job(tiny_arm(bert), tiny_stream(tmp_path), 0, tmp_path)
    with pytest.raises(KeyboardInterrupt):
        run_jobs([job, job], 2, Watcher())
    assert len(born) == 1
    assert multiprocessing.active_children() == []
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == set()


@pytest.mark.slow
def test_a_process_that_dies_is_a_failed_run(asked, bert, tmp_path):
    stream, arms = asked
    job = Job(arms[0], stream, 0, tmp_path, cache=Path("/proc/none"))
    with pytest.raises(RunFailedError, match="arm base, seed 0"):
        run_jobs([job], 1, Watcher())
