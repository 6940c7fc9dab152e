"""What the shop sells: items with readable titles made of attributes."""

from dataclasses import dataclass

import numpy as np

from stream.simulator.words import NUM_VALUES, Words

NOUN = 3
"""Place of the noun in `Item.attributes`."""

_MEDIAN_PRICES = (90.0, 70.0, 35.0, 110.0, 80.0, 140.0, 25.0, 20.0, 45.0, 75.0)


@dataclass(frozen=True, kw_only=True)
class Item:
    """One product.

    Attributes:
        item_id: The shop's id.
        title: What a reader sees.
        attributes: Index of its style, colour, material and noun.
        price: In the shop's currency.
        rating: Mean stars; None while nobody has rated it.
        appeal: What price and rating add to the logit of a click.
    """

    item_id: str
    title: str
    attributes: tuple[int, ...]
    price: float
    rating: float | None
    appeal: float


class Catalogue:
    """A fixed number of slots, each holding an item; slots are listed by noun, the one with the oldest item first.

    Args:
        num_items: Number of slots.
        words: What titles are made of.
        rng: Where the first items come from.
    """

    def __init__(self, num_items: int, words: Words, rng: np.random.Generator) -> None:
        self._words = words
        self._made = 0
        self.items: list[Item] = []
        self.by_noun: list[list[int]] = [[] for _ in words.nouns]
        for slot in range(num_items):
            # Every noun gets its share, so that every query finds a list.
            noun = slot % len(words.nouns)
            self.items.append(self._make(noun, rng, rated=bool(rng.random() > 0.15)))
            self.by_noun[noun].append(slot)

    def renew(self, rng: np.random.Generator) -> tuple[int, Item]:
        """Return a new item, not rated yet, and the slot it took from the oldest item of its noun."""
        slots = self.by_noun[int(rng.integers(len(self.by_noun)))]
        slot = slots.pop(0)
        slots.append(slot)
        self.items[slot] = self._make(self.items[slot].attributes[NOUN], rng, rated=False)
        return slot, self.items[slot]

    def _make(self, noun: int, rng: np.random.Generator, *, rated: bool) -> Item:
        self._made += 1
        attributes = (*(int(rng.integers(num_values)) for num_values in NUM_VALUES[:NOUN]), noun)
        words = [of_kind[value] for of_kind, value in zip(self._words.attributes, attributes, strict=True)]
        brands = self._words.brands
        dearness = float(rng.normal())
        stars = float(np.clip(rng.normal(4.0, 0.6), 1.0, 5.0)) if rated else None
        return Item(
            item_id=f"item-{self._made:05d}",
            title=" ".join([brands[int(rng.integers(len(brands)))], *words]),
            attributes=attributes,
            price=round(_MEDIAN_PRICES[noun] * float(np.exp(0.3 * dearness)), 2),
            rating=None if stars is None else round(stars, 1),
            appeal=-0.1 * dearness + (0.15 * (stars - 4.0) / 0.6 if stars is not None else 0.0),
        )
