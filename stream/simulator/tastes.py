"""What users like: weights on attributes, shared within a group, and the part that is one's own."""

import numpy as np
from numpy.typing import NDArray

from stream.simulator.catalogue import Item
from stream.simulator.words import NUM_VALUES

NUM_GROUPS = 3
"""Groups of users, one for each occasion they shop for."""

FASHION_SHARE = 0.8
"""Share of what a group has in common that all groups have in common."""

_EMPHASIS = (1.25, 1.0, 1.0, 0.5)
"""How much style, colour, material and noun matter."""


class Tastes:
    """The taste of every user for every item, standard deviation about 1 over users and items.

    Everybody follows the same fashion in part, each group adds its own likes, and each user has private ones.

    Args:
        group_of_user: Group index of each user, shape (users,).
        shared_share: Share of the variance that is not private.
        turned: Which attribute values are liked as much as disliked after the turn, shape (attribute values,).
        rng: Where the weights come from.
    """

    def __init__(
        self,
        group_of_user: NDArray[np.int64],
        shared_share: float,
        turned: NDArray[np.bool_],
        rng: np.random.Generator,
    ) -> None:
        fashion = _weights(1, rng)
        groups = _weights(NUM_GROUPS, rng)
        private = _weights(len(group_of_user), rng)
        shared = np.sqrt(FASHION_SHARE) * fashion + np.sqrt(1.0 - FASHION_SHARE) * groups[group_of_user]
        before = np.sqrt(shared_share) * shared + np.sqrt(1.0 - shared_share) * private
        self._weights = np.stack([before, np.where(turned, -before, before)])

    def of_all(self, item: Item) -> NDArray[np.float64]:
        """Return every user's taste for an item before and after the turn, shape (2, users)."""
        starts = np.cumsum([0, *NUM_VALUES[:-1]])
        return np.asarray(self._weights[:, :, starts + np.array(item.attributes)].sum(axis=2))


def turned_values(share: float, seed: int) -> NDArray[np.bool_]:
    """Draw the attribute values that turn, at least one, shape (attribute values,)."""
    num_values = sum(NUM_VALUES)
    order = np.random.default_rng(seed).permutation(num_values)
    return np.asarray(order < max(1, round(share * num_values)))


def _weights(rows: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return attribute weights, shape (rows, attribute values), that sum to variance 1 over one item."""
    emphasis = np.array(_EMPHASIS) / np.linalg.norm(_EMPHASIS)
    columns = []
    for strength, num_values in zip(emphasis, NUM_VALUES, strict=True):
        column = rng.normal(size=(rows, num_values))
        column -= column.mean(axis=1, keepdims=True)
        column /= column.std(axis=1, keepdims=True)
        columns.append(strength * column)
    return np.concatenate(columns, axis=1)
