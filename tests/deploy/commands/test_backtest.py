import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from deploy.commands.backtest import INTERRUPTED, app

ARMS = """
[[arm]]
name = "uniform"
strategy = "uniform"
[[arm]]
name = "gradnorm"
strategy = "gradnorm_is"
"""


def refusal_of(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments))
    assert isinstance(result.exception, ValueError), result.output
    return str(result.exception)


@pytest.mark.parametrize("arguments", [(), ("log.jsonl", "--simulate", "none")])
def test_there_is_a_log_or_a_simulation(arguments):
    assert "name either a recorded log or --simulate" in refusal_of(*arguments)


@pytest.mark.parametrize("option", [("--strategies", "full"), ("--budget", "0.5"), ("--no-gate",)])
def test_arms_say_everything_themselves(option):
    told = refusal_of("--simulate", "none", "--arms", "arms.toml", *option)
    assert "--arms arms.toml says what every arm does" in told


def test_a_log_has_its_own_click_rate():
    assert "--ctr 0.1 is of a simulated shop" in refusal_of("log.jsonl", "--ctr", "0.1")


def test_an_unknown_strategy_is_refused_before_anything_runs(tmp_path):
    told = refusal_of("--simulate", "none", "--strategies", "best", "--out", str(tmp_path / "out"))
    assert "strategy = 'best' is not one of" in told
    assert not (tmp_path / "out").exists()


def millstream(*arguments: str) -> subprocess.Popen[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MILLSTREAM_")}
    return subprocess.Popen(
        [sys.executable, "-m", "deploy", "backtest", *arguments],
        env=kept,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@pytest.mark.slow
def test_an_interrupted_backtest_of_the_packaged_model_goes_on_to_its_report(tmp_path: Path):
    out = tmp_path / "out"
    (tmp_path / "arms.toml").write_text(ARMS)
    asked = ("--simulate", "sudden", "--rows", "2000", "--arms", str(tmp_path / "arms.toml"), "--out", str(out))
    first = millstream(*asked, "--workers", "1")
    while first.poll() is None and not (out / "runs" / "uniform-0").exists():
        time.sleep(0.1)
    os.killpg(first.pid, signal.SIGINT)  # as a terminal does: to every process of the group
    _, told = first.communicate()
    assert first.returncode == INTERRUPTED, told
    assert "the same command goes on from there" in told
    assert "Traceback" not in told
    assert not (out / "report.html").exists()

    second = millstream(*asked)
    shown, told = second.communicate()
    assert second.returncode == 0, told
    assert "gradnorm" in shown
    summary = json.loads((out / "summary.json").read_text())
    for arm in summary["arms"]:
        assert arm["auc_limit"] > 0.7
        assert arm["backward_rows"] == pytest.approx(900, rel=0.2)
    assert "<svg" in (out / "report.html").read_text()
    assert not (out / "cache").exists()
