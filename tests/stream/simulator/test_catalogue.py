import numpy as np

from stream.simulator.catalogue import NOUN, Catalogue
from stream.simulator.words import WORDS

ENGLISH = WORDS["english"]


def catalogue(num_items: int = 100) -> Catalogue:
    return Catalogue(num_items, ENGLISH, np.random.default_rng(1))


def test_a_title_reads_its_attributes_in_order():
    for item in catalogue().items:
        words = [ENGLISH.attributes[kind][value] for kind, value in enumerate(item.attributes)]
        assert item.title.split()[1:] == words


def test_every_noun_has_its_share_of_items():
    assert [len(slots) for slots in catalogue().by_noun] == [10] * len(ENGLISH.nouns)


def test_some_items_have_no_rating():
    missing = sum(item.rating is None for item in catalogue(400).items)
    assert 20 <= missing <= 120


def test_a_new_item_takes_the_slot_of_the_oldest_of_its_noun():
    shop = catalogue()
    before = [list(slots) for slots in shop.by_noun]
    slot, item = shop.renew(np.random.default_rng(2))
    noun = item.attributes[NOUN]
    assert slot == before[noun][0]
    assert shop.items[slot] is item
    assert shop.by_noun[noun] == [*before[noun][1:], slot]


def test_a_new_item_has_an_id_never_used_and_no_rating():
    shop = catalogue()
    known = {item.item_id for item in shop.items}
    for _ in range(50):
        _slot, item = shop.renew(np.random.default_rng(2))
        assert item.item_id not in known
        assert item.rating is None
        known.add(item.item_id)
