"""What the shop sells: items with readable titles made of attributes."""

from dataclasses import dataclass

import numpy as np

STYLES = ("vintage", "modern", "elegant", "casual", "sport", "rustic")
COLOURS = ("black", "white", "red", "blue", "green", "yellow")
MATERIALS = ("leather", "cotton", "wool", "silk", "denim", "velvet")
NOUNS = ("jacket", "dress", "shirt", "boots", "bag", "coat", "hat", "scarf", "skirt", "shoes")
BRANDS = ("Harbor", "Summit", "Willow", "Falcon", "Meridian", "Orchard", "Atlas", "Juniper")
ATTRIBUTES = (STYLES, COLOURS, MATERIALS, NOUNS)
"""The attributes that tastes are about, in the order of `Item.attributes`."""
NOUN = 3

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
        rng: Where the first items come from.
    """

    def __init__(self, num_items: int, rng: np.random.Generator) -> None:
        self._made = 0
        self.items: list[Item] = []
        self.by_noun: list[list[int]] = [[] for _ in NOUNS]
        for slot in range(num_items):
            # Every noun gets its share, so that every query finds a list.
            noun = slot % len(NOUNS)
            self.items.append(self._make(noun, rng, rated=bool(rng.random() > 0.15)))
            self.by_noun[noun].append(slot)

    def renew(self, rng: np.random.Generator) -> tuple[int, Item]:
        """Return a new item, not rated yet, and the slot it took from the oldest item of its noun."""
        slots = self.by_noun[int(rng.integers(len(NOUNS)))]
        slot = slots.pop(0)
        slots.append(slot)
        self.items[slot] = self._make(self.items[slot].attributes[NOUN], rng, rated=False)
        return slot, self.items[slot]

    def _make(self, noun: int, rng: np.random.Generator, *, rated: bool) -> Item:
        self._made += 1
        attributes = (*(int(rng.integers(len(words))) for words in ATTRIBUTES[:NOUN]), noun)
        words = [ATTRIBUTES[kind][value] for kind, value in enumerate(attributes)]
        dearness = float(rng.normal())
        stars = float(np.clip(rng.normal(4.0, 0.6), 1.0, 5.0)) if rated else None
        return Item(
            item_id=f"item-{self._made:05d}",
            title=" ".join([BRANDS[int(rng.integers(len(BRANDS)))], *words]),
            attributes=attributes,
            price=round(_MEDIAN_PRICES[noun] * float(np.exp(0.3 * dearness)), 2),
            rating=None if stars is None else round(stars, 1),
            appeal=-0.1 * dearness + (0.15 * (stars - 4.0) / 0.6 if stars is not None else 0.0),
        )
