import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from deploy.demo.options import DemoOptions
from deploy.demo.processes import SERVICES, Workspace, demo_environment
from deploy.demo.run import Demo
from deploy.demo.supervisor import ProcessFailedError, Supervisor
from deploy.local_kafka.broker import free_port
from stream.disk.directory_lock import DirectoryBusyError, directory_lock
from stream.play.ledger import read_producer_ledger
from stream.settings import KafkaSettings


@pytest.fixture
def console() -> Console:
    return Console(file=io.StringIO(), width=200)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MILLSTREAM_HOME", str(tmp_path))
    return tmp_path


def options(report: Path, *, trainer: bool = True) -> DemoOptions:
    return DemoOptions(minutes=4, strategy="full", budget=1.0, trainer=trainer, log=None, rate=20, report=report)


def test_with_the_trainer_off_every_other_process_runs(console: Console, tmp_path: Path):
    assert Demo(options(tmp_path), console)._services == list(SERVICES)
    assert Demo(options(tmp_path, trainer=False), console)._services == ["stream", "scorer", "evaluator"]


def test_a_second_demo_on_one_home_is_refused_and_leaves_the_first_alone(console: Console, tmp_path: Path):
    workspace = Workspace(tmp_path / "demo")
    with directory_lock(workspace.root, "wait"):
        workspace.history.write_text("of the first")
        with pytest.raises(DirectoryBusyError, match="MILLSTREAM_HOME"):
            Demo(options(tmp_path), console).run()
        assert workspace.history.read_text() == "of the first"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [({"log": Path("absent.jsonl")}, r"absent\.jsonl is not a file"), ({"strategy": "nix"}, "'nix'")],
)
def test_a_demo_of_what_is_not_there_starts_nothing(
    console: Console, tmp_path: Path, wrong: dict[str, Any], message: str
):
    with pytest.raises(ValueError, match=message):
        Demo(replace(options(tmp_path), **wrong), console).run()
    assert not (tmp_path / "demo").exists()


@pytest.mark.slow
def test_a_process_that_cannot_start_ends_the_demo_with_its_own_words(console: Console, tmp_path: Path):
    demo = Demo(options(tmp_path, trainer=False), console)
    environment = demo_environment(options(tmp_path), Workspace(tmp_path), f"127.0.0.1:{free_port()}", "demo.")
    with Supervisor(tmp_path / "logs", environment) as supervisor:
        demo._start(["stream"], supervisor)
        with pytest.raises(ProcessFailedError, match=r"ended with status 2(?s:.*)127\.0\.0\.1"):
            demo._wait_for_services(supervisor)


@pytest.mark.kafka
def test_a_stop_that_comes_while_the_shop_starts_drains_it(console: Console, tmp_path: Path, kafka: KafkaSettings):
    demo = Demo(options(tmp_path), console)
    workspace = Workspace(tmp_path / "demo")
    environment = demo_environment(options(tmp_path), workspace, kafka.bootstrap, kafka.topic_prefix)
    demo._stop.set()
    with Supervisor(tmp_path / "logs", environment) as supervisor:
        demo._stream(supervisor)

    assert supervisor.failed == set()
    assert read_producer_ledger(workspace.ledger).num_rows < options(tmp_path).num_impressions
