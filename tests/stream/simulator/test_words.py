import numpy as np
import pytest

from stream.simulator.catalogue import Catalogue
from stream.simulator.settings import ShopSettings
from stream.simulator.shop import Shop
from stream.simulator.words import NUM_VALUES, WORDS


@pytest.mark.parametrize("language", WORDS)
def test_every_language_has_as_many_words_of_a_kind_and_none_twice(language):
    words = WORDS[language]
    assert tuple(len(of_kind) for of_kind in words.attributes) == NUM_VALUES
    assert (len(words.brands), len(words.occasions)) == (8, 3)
    spoken = [word for of_kind in (*words.attributes, words.brands, words.occasions) for word in of_kind]
    assert len(set(spoken)) == len(spoken)


def test_another_language_is_the_same_shop_in_other_words():
    shops = [Shop(ShopSettings(language=language), start_ms=0, history_rows=600) for language in WORDS]
    rows = [[showing for page in shop.history() for showing in page.showings] for shop in shops]
    assert [one.label for one in rows[0]] == [one.label for one in rows[1]]
    assert "Leder" in " ".join(one.impression.item_text for one in rows[1])
    assert not {one.impression.item_text for one in rows[0]} & {one.impression.item_text for one in rows[1]}


def test_a_title_is_in_the_language_that_was_asked_for():
    (item, *_) = Catalogue(50, WORDS["german"], np.random.default_rng(0)).items
    assert item.title.split()[-1] in WORDS["german"].nouns
