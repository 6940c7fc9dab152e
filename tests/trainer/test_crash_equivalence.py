import os
import signal
import subprocess
import sys
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

from tests.trainer.crashing_run import NUM_ROWS, settings
from tests.trainer.rig import Rig, recorded_log
from trainer.ledger import read_ledger

pytestmark = pytest.mark.slow

PLACES = (
    "plan_written",
    "admitted",
    "published",
    "decided",
    "learned",
    "ledger_written",
    "checkpoint_before_rename",
    "checkpoint_written",
)


def _run(directory: Path, failpoint: str = "") -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"MILLSTREAM_FAILPOINT": failpoint, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-m", "tests.trainer.crashing_run", str(directory)],
        env=environment,
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )


@cache
def _uninterrupted(directory: Path) -> str:
    finished = _run(directory)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    directory = tmp_path_factory.mktemp("undisturbed")
    return directory, _uninterrupted(directory)


def _outcomes(directory: Path) -> Counter[tuple[object, ...]]:
    rows = read_ledger(directory / "trainer").to_pylist()
    return Counter(tuple(row.values()) for row in rows)


@pytest.mark.parametrize("place", PLACES)
def test_a_kill_at_any_step_gives_the_weights_and_ledger_of_an_undisturbed_run(place, undisturbed, tmp_path):
    killed = _run(tmp_path, f"{place}:3")
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    finished = _run(tmp_path)
    assert finished.returncode == 0, finished.stderr
    directory, digest = undisturbed
    assert finished.stdout.splitlines()[-1] == digest
    assert _outcomes(tmp_path) == _outcomes(directory)


def test_kills_in_a_row_at_changing_steps_give_the_same_weights(undisturbed, tmp_path):
    for count, place in enumerate(PLACES):
        _run(tmp_path, f"{place}:{1 + count % 2}")
    finished = _run(tmp_path)
    assert finished.stdout.splitlines()[-1] == undisturbed[1]


def test_a_damaged_newest_checkpoint_is_passed_over_and_its_updates_are_repeated(undisturbed, tmp_path):
    assert _run(tmp_path, "checkpoint_written:4").returncode == -signal.SIGKILL
    newest = sorted((tmp_path / "trainer" / "00000000" / "checkpoints").glob("checkpoint-*"))[-1]
    (newest / "tensors.safetensors").write_bytes(b"torn")
    finished = _run(tmp_path)
    assert "checkpoint_damaged" in finished.stderr + finished.stdout
    assert finished.stdout.splitlines()[-1] == undisturbed[1]


def test_versions_announced_after_a_kill_are_those_of_an_undisturbed_run(undisturbed, tmp_path):
    _run(tmp_path, "published:2")
    _run(tmp_path)
    directory, _ = undisturbed
    runs = [Rig(place, recorded_log(NUM_ROWS), settings=settings()) for place in (tmp_path, directory)]
    champions = [[r.version for r in rig.topic.read() if r.alias == "champion"] for rig in runs]
    assert champions[0] == champions[1]
