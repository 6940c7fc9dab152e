"""The words of the shop: what its titles and queries are made of, in each language it speaks."""

from dataclasses import dataclass
from typing import Literal

Language = Literal["english", "german"]


@dataclass(frozen=True, kw_only=True)
class Words:
    """One language; every language has as many words of a kind.

    Attributes:
        styles: Of items.
        colours: Of items.
        materials: Of items.
        nouns: What items are.
        brands: Who made them; without a meaning.
        occasions: What groups of users shop for.
    """

    styles: tuple[str, ...]
    colours: tuple[str, ...]
    materials: tuple[str, ...]
    nouns: tuple[str, ...]
    brands: tuple[str, ...]
    occasions: tuple[str, ...]

    @property
    def attributes(self) -> tuple[tuple[str, ...], ...]:
        """What tastes are about, in the order of `Item.attributes`."""
        return self.styles, self.colours, self.materials, self.nouns


WORDS: dict[Language, Words] = {
    "english": Words(
        styles=("vintage", "modern", "elegant", "casual", "sport", "rustic"),
        colours=("black", "white", "red", "blue", "green", "yellow"),
        materials=("leather", "cotton", "wool", "silk", "denim", "velvet"),
        nouns=("jacket", "dress", "shirt", "boots", "bag", "coat", "hat", "scarf", "skirt", "shoes"),
        brands=("Harbor", "Summit", "Willow", "Falcon", "Meridian", "Orchard", "Atlas", "Juniper"),
        occasions=("office", "party", "travel"),
    ),
    "german": Words(
        styles=("altmodisch", "zeitgemäß", "vornehm", "lässig", "sportlich", "ländlich"),
        colours=("schwarz", "weiß", "rot", "blau", "grün", "gelb"),
        materials=("Leder", "Baumwolle", "Wolle", "Seide", "Jeansstoff", "Samt"),
        nouns=("Jacke", "Kleid", "Hemd", "Stiefel", "Tasche", "Mantel", "Hut", "Schal", "Rock", "Schuhe"),
        brands=("Möwe", "Gipfel", "Weide", "Falke", "Südwind", "Obstgarten", "Atlas", "Wacholder"),
        occasions=("Büro", "Feier", "Reise"),
    ),
}

NUM_VALUES = tuple(len(words) for words in WORDS["english"].attributes)
"""How many values each attribute has, in every language."""
