import numpy as np
import pytest

from stream.simulator.catalogue import Catalogue
from stream.simulator.tastes import NUM_GROUPS, Tastes, turned_values
from stream.simulator.words import NUM_VALUES, WORDS

GROUP_OF_USER = np.arange(300) % NUM_GROUPS


def liking(shared_share: float, seed: int = 0, *, turned_tastes: float = 1.0, turned: bool = False) -> np.ndarray:
    rng = np.random.default_rng(seed)
    items = Catalogue(400, WORDS["english"], rng).items
    tastes = Tastes(GROUP_OF_USER, shared_share, turned_values(turned_tastes, seed), rng)
    return np.stack([tastes.of_all(item)[int(turned)] for item in items], axis=1)


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


def test_a_turn_of_all_tastes_is_their_opposite():
    assert np.array_equal(liking(0.7, turned=True), -liking(0.7))


def test_a_mild_turn_flips_so_many_attribute_values_and_leaves_most_liking_as_it_was():
    assert turned_values(0.1, seed=3).sum() == round(0.1 * sum(NUM_VALUES))
    before, after = (liking(0.7, turned_tastes=0.1, turned=turned) for turned in (False, True))
    changed = (before != after).any(axis=0)
    assert 0.1 < changed.mean() < 0.8
    assert 0.4 < np.corrcoef(before.ravel(), after.ravel())[0, 1] < 0.95


def test_at_least_one_value_turns():
    assert turned_values(0.001, seed=3).sum() == 1
