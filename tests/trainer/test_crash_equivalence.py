"""Crash equivalence: any schedule of `kill -9` over one recorded log ends in the weights of an undisturbed run."""

import os
import signal
from collections import Counter
from pathlib import Path

import pytest
import torch

from tests.trainer.rig import Rig, recorded_log
from trainer.settings import TrainerSettings
from trainer.state.failpoints import Failpoints
from trainer.state.ledger import read_ledger

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")]

NUM_ROWS = 400
PLACES = (
    "plan_written",
    "admitted",
    "published",
    "decided",
    "learned",
    "ledger_written",
    "ledger_merged",
    "checkpoint_before_rename",
    "checkpoint_written",
)


def rig(directory: Path, failpoint: str = "") -> Rig:
    """Return a trainer in which all takes part that could differ: replay, warm-up, promotions, repeats, probe."""
    settings = TrainerSettings(
        update_rows=64,
        batch_rows=8,
        warmup_steps=4,
        replay_share=0.25,
        replay_capacity=50,
        probe_rows=32,
        probe_every=1,
    )
    return Rig(directory, recorded_log(NUM_ROWS), settings=settings, failpoints=Failpoints(failpoint))


def run_and_kill(directory: Path, failpoint: str = "") -> bool:
    """Run to the end of the log in a process of its own and return whether it was killed on the way."""
    child = os.fork()
    if child == 0:
        torch.set_num_threads(1)
        try:
            rig(directory, failpoint).run_to_end()
            os._exit(0)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in {0, -signal.SIGKILL}
    return code != 0


def outcomes(directory: Path) -> Counter[tuple[object, ...]]:
    """Return every row of the ledger."""
    return Counter(tuple(row.values()) for row in read_ledger(directory / "trainer").to_pylist())


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("undisturbed")
    assert not run_and_kill(directory)
    return directory


@pytest.mark.parametrize("place", PLACES)
def test_a_kill_at_any_step_gives_the_weights_and_ledger_of_an_undisturbed_run(place, undisturbed, tmp_path):
    assert run_and_kill(tmp_path, f"{place}:3")
    assert not run_and_kill(tmp_path)
    assert rig(tmp_path).checkpoint_digest() == rig(undisturbed).checkpoint_digest()
    assert outcomes(tmp_path) == outcomes(undisturbed)


def test_kills_in_a_row_at_changing_steps_give_the_same_weights(undisturbed, tmp_path):
    for count, place in enumerate(PLACES):
        run_and_kill(tmp_path, f"{place}:{1 + count % 2}")
    assert not run_and_kill(tmp_path)
    assert rig(tmp_path).checkpoint_digest() == rig(undisturbed).checkpoint_digest()


def test_a_damaged_newest_checkpoint_is_passed_over_and_its_updates_are_repeated(undisturbed, tmp_path):
    assert run_and_kill(tmp_path, "checkpoint_written:4")
    newest = sorted((tmp_path / "trainer" / "00000000" / "checkpoints").glob("checkpoint-*"))[-1]
    (newest / "tensors.safetensors").write_bytes(b"torn")
    assert len(rig(tmp_path).newest_checkpoint().damaged) == 1
    assert not run_and_kill(tmp_path)
    assert rig(tmp_path).checkpoint_digest() == rig(undisturbed).checkpoint_digest()


def test_versions_announced_around_a_kill_are_those_of_an_undisturbed_run(undisturbed, tmp_path):
    assert run_and_kill(tmp_path, "published:2")
    assert not run_and_kill(tmp_path)
    announced = [[(r.alias, r.version) for r in rig(place).topic.read()] for place in (tmp_path, undisturbed)]
    assert announced[0] == announced[1]
