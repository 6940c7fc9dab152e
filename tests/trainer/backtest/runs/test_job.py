import os
import signal
from multiprocessing import Pipe

import pytest

from tests.trainer.backtest.tiny import made_run, tiny_arm, tiny_stream
from trainer.backtest.runs.job import Job, jobs_of, run_job
from trainer.backtest.runs.results import Results, open_results
from trainer.backtest.runs.run import RunResult


@pytest.fixture(autouse=True)
def _same_signals():
    """A job changes what its process does on SIGTERM."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def stream(tmp_path):
    return tiny_stream(tmp_path, 500)


def messages_of(job):
    here, there = Pipe(duplex=False)
    run_job(job, there)
    there.close()
    found = []
    while here.poll():
        try:
            found.append(here.recv())
        except EOFError:
            break
    return found


def test_a_job_tells_its_rows_and_leaves_a_complete_run(bert, stream, tmp_path):
    results = open_results(tmp_path / "out", stream, [tiny_arm(bert)], 1)
    (job,) = jobs_of(stream, [tiny_arm(bert)], 1, results)
    rows = [content for kind, content in messages_of(job) if kind == "rows"]
    assert rows == sorted(rows)
    assert rows[-1] == 500
    assert results.is_complete("arm", 0)
    assert set(results.timing("arm", 0)) == {"seconds", "rows_per_second", "peak_memory_mib"}


def test_a_job_told_to_stop_ends_once(bert, stream, tmp_path, monkeypatch):
    def told_to_stop(*_, **__):
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr("trainer.backtest.runs.job.run_arm", told_to_stop)
    with pytest.raises(SystemExit) as exited:
        messages_of(Job(tiny_arm(bert), stream, 0, tmp_path))
    assert exited.value.code == 1
    os.kill(os.getpid(), signal.SIGTERM)  # on its way out
    assert not Results(tmp_path).is_complete("arm", 0)


def test_a_job_told_to_stop_after_its_end_ends_as_it_would_have(bert, stream, tmp_path):
    results = open_results(tmp_path / "out", stream, [tiny_arm(bert)], 1)
    messages_of(Job(tiny_arm(bert), stream, 0, results.directory))
    os.kill(os.getpid(), signal.SIGTERM)
    assert results.is_complete("arm", 0)


def test_a_job_that_fails_tells_why_and_leaves_no_run(bert, stream, tmp_path):
    model = tiny_arm(bert).model.model_copy(update={"num_layers": 7})
    job = Job(tiny_arm(bert, model=model), stream, 0, tmp_path)
    (kind, content) = messages_of(job)[-1]
    assert kind == "failed"
    assert "model.num_layers=7" in content
    assert not Results(tmp_path).is_complete("arm", 0)


def test_what_is_complete_is_no_job(bert, stream, tmp_path):
    results = open_results(tmp_path / "out", stream, [tiny_arm(bert)], 2)
    run = made_run(num_rows=100)
    results.write_run("arm", 1, RunResult(run.rounds, run.predictions, is_complete=True), {})
    assert [job.seed for job in jobs_of(stream, [tiny_arm(bert)], 2, results)] == [0]


def test_arms_with_one_beginning_share_it_by_seed(bert, stream, tmp_path):
    trainer = tiny_arm(bert).trainer.model_copy(update={"batch_rows": 16})
    arms = [tiny_arm(bert, "a"), tiny_arm(bert, "b", budget=0.25, gate=None), tiny_arm(bert, "c", trainer=trainer)]
    jobs = jobs_of(stream, arms, 2, open_results(tmp_path / "out", stream, arms, 2))
    assert [(job.arm.name, job.seed) for job in jobs] == [(a, s) for a in "abc" for s in (0, 1)]
    caches = {(job.arm.name, job.seed): job.cache for job in jobs}
    assert caches["a", 0] == caches["b", 0] != caches["a", 1] == caches["b", 1]
    assert caches["c", 0] is None
