import numpy as np
import pytest

from scorer.measures.compared import Compared
from trainer.promotion.slow_harm import HORIZON_UPDATES, LEAST_UPDATES, SlowHarm


def noted(by_auc, by_log_loss):
    """Return a memory of updates of 80 rows with these differences."""
    memory = SlowHarm()
    for one, other in zip(by_auc, by_log_loss, strict=True):
        memory.note(Compared(80, 900, float(one), float(other)))
    return memory


def noise(seed, num_updates=HORIZON_UPDATES, *, mean=0.0):
    return np.random.default_rng(seed).normal(mean, 0.05, num_updates)


@pytest.mark.parametrize("num_rows", [0, 80])
def test_rows_of_one_class_say_nothing_about_ranking(num_rows):
    memory = SlowHarm()
    for _ in range(LEAST_UPDATES):
        memory.note(Compared(num_rows, 0, 0.0, 0.0))
    assert memory.found() is None


@pytest.mark.parametrize(
    ("by_auc", "by_log_loss", "harm"),
    [
        (noise(0, mean=-0.03), noise(1), "auc"),
        (noise(0), noise(1, mean=0.03), "log_loss"),
        (noise(0, mean=0.03), noise(1, mean=-0.03), None),
    ],
)
def test_sure_harm_in_either_is_found_and_gain_is_not_harm(by_auc, by_log_loss, harm):
    assert noted(by_auc, by_log_loss).found() == harm


def test_a_few_updates_are_no_proof_however_bad():
    assert noted(noise(0, LEAST_UPDATES - 1, mean=-1.0), noise(1, LEAST_UPDATES - 1)).found() is None


def test_versions_that_are_as_good_are_seldom_blamed_though_they_are_looked_at_after_every_update():
    blamed = 0
    for seed in range(200):
        memory, by_auc, by_log_loss = SlowHarm(), noise(seed, 100), noise(1000 + seed, 100)
        for one, other in zip(by_auc, by_log_loss, strict=True):
            memory.note(Compared(80, 900, float(one), float(other)))
            if memory.found():
                blamed += 1
                break
    assert blamed / 200 <= 0.1


def test_neighbours_that_are_alike_count_as_fewer():
    slow = np.repeat(np.random.default_rng(5).normal(-0.012, 0.05, 25), 8)
    shuffled = np.random.default_rng(6).permutation(slow)
    assert noted(shuffled, noise(1)).found() == "auc"
    assert noted(slow, noise(1)).found() is None


def test_it_remembers_so_many_updates_and_forgets_when_told():
    memory = noted(noise(0, 2 * HORIZON_UPDATES, mean=-0.03), noise(1, 2 * HORIZON_UPDATES))
    assert memory.snapshot().shape == (HORIZON_UPDATES, 4)
    memory.forget()
    assert memory.found() is None


def test_a_snapshot_restores_it():
    memory, again = noted(noise(0, 30), noise(1, 30)), SlowHarm()
    again.restore(memory.snapshot())
    assert np.array_equal(again.snapshot(), memory.snapshot())
