import numpy as np
import pytest

from stream.simulator.catalogue import Catalogue
from stream.simulator.tastes import GROUPS, Tastes

GROUP_OF_USER = np.arange(300) % len(GROUPS)


def liking(shared_share: float, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    items = Catalogue(400, rng).items
    tastes = Tastes(GROUP_OF_USER, shared_share, rng)
    return np.stack([tastes.of_all(item) for item in items], axis=1)


@pytest.mark.parametrize("seed", range(3))
def test_taste_has_standard_deviation_one_whatever_the_seed(seed):
    assert liking(0.7, seed).std() == pytest.approx(1.0, abs=0.15)


def test_with_everything_shared_a_group_agrees():
    likes = liking(1.0)
    assert np.allclose(likes[0], likes[3])
    assert not np.allclose(likes[0], likes[1])


def test_the_shared_part_dominates_as_far_as_it_is_told_to():
    likes = liking(0.7)
    same_group = np.corrcoef(likes[GROUP_OF_USER == 0])[np.triu_indices(100, 1)].mean()
    assert 0.6 <= same_group <= 0.8
