from pathlib import Path

import pytest

from deploy.demo.options import WARM_ROWS, DemoOptions
from deploy.demo.processes import (
    SERVICES,
    WINDOW_SECONDS,
    Workspace,
    demo_environment,
    metrics_ports,
    port_environment,
    shop_arguments,
)
from scorer.settings import ScorerSettings
from stream.disk.directory_lock import directory_lock
from stream.disk.state_home import state_directory
from stream.settings import JoinSettings, KafkaSettings, MetricsSettings
from stream.simulator.settings import ShopSettings

LOG = Path("clicks.jsonl")


def options(log: Path | None = None) -> DemoOptions:
    return DemoOptions(
        minutes=4, strategy="uniform", budget=0.25, trainer=True, log=log, rate=120, report=Path("report")
    )


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    found = demo_environment(options(), Workspace(tmp_path), "127.0.0.1:4711", "demo.")
    for name, value in found.items():
        monkeypatch.setenv(name, value)
    return found


def test_a_cleared_workspace_holds_nothing_but_its_lock(tmp_path: Path):
    workspace = Workspace(tmp_path)
    workspace.logs.mkdir()
    (workspace.logs / "scorer.log").write_text("old")
    workspace.ledger.write_text("old")
    with directory_lock(workspace.root, "wait"):
        workspace.clear()
        assert [path.name for path in tmp_path.iterdir()] == ["lock"]


@pytest.mark.usefixtures("environment")
def test_every_process_reads_the_demos_choices_from_its_environment(tmp_path: Path):
    assert (KafkaSettings().bootstrap, KafkaSettings().topic_prefix) == ("127.0.0.1:4711", "demo.")
    assert JoinSettings().window_seconds == WINDOW_SECONDS
    assert (ScorerSettings().strategy, ScorerSettings().budget) == ("uniform", 0.25)
    assert ShopSettings().rate == 120
    assert ShopSettings().turn_seconds == options().turn_seconds
    assert state_directory() == tmp_path


@pytest.mark.usefixtures("environment")
def test_prompt_clicks_come_inside_the_window_and_late_ones_after_it():
    assert ShopSettings().click_seconds < WINDOW_SECONDS < ShopSettings().late_click_seconds


def test_a_frozen_share_of_the_users_own_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MILLSTREAM_SCORER_FROZEN_SHARE", "1.0")
    found = demo_environment(options(), Workspace(tmp_path), "127.0.0.1:4711", "demo.")
    assert found["MILLSTREAM_SCORER_FROZEN_SHARE"] == "1.0"


def test_a_recorded_log_sets_no_turn(tmp_path: Path):
    assert "MILLSTREAM_SHOP_TURN_SECONDS" not in demo_environment(options(LOG), Workspace(tmp_path), "host:1", "demo.")


def test_every_process_gets_a_metrics_port_of_its_own(monkeypatch: pytest.MonkeyPatch):
    ports = metrics_ports([*SERVICES, "shop"])
    assert len(set(ports.values())) == len(SERVICES) + 1
    monkeypatch.setenv(*next(iter(port_environment(ports, "trainer").items())))
    assert MetricsSettings().port == ports["trainer"]


def test_the_simulated_shop_goes_on_from_the_rows_of_the_warm_start(tmp_path: Path):
    arguments = shop_arguments(options(), Workspace(tmp_path))
    assert arguments[:4] == ["deploy", "simulate", "--history-rows", str(WARM_ROWS)]


def test_a_recorded_log_is_replayed_after_the_rows_of_the_warm_start(tmp_path: Path):
    arguments = shop_arguments(options(LOG), Workspace(tmp_path))
    assert arguments[:5] == ["deploy", "replay", str(LOG), "--skip", str(WARM_ROWS)]


@pytest.mark.parametrize("log", [None, LOG])
def test_the_shop_plays_as_many_impressions_as_the_minutes_allow_and_writes_the_ledger(
    log: Path | None, tmp_path: Path
):
    workspace = Workspace(tmp_path)
    played = ["--limit", str(options(log).num_impressions), "--rate", "120", "--ledger", str(workspace.ledger)]
    assert shop_arguments(options(log), workspace)[-6:] == played
