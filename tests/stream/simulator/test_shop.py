from itertools import islice

import numpy as np
import pytest

from scorer.measures.auc import auc
from stream.simulator.settings import ShopSettings
from stream.simulator.shop import Page, Shop, Showing

START_MS = 1_700_000_000_000


def pages(settings: ShopSettings, impressions: int, **options) -> list[Page]:
    shop = Shop(settings, start_ms=START_MS, **options)
    return list(islice(shop, -(-impressions // settings.list_size)))


def showings(settings: ShopSettings, impressions: int, **options) -> list[Showing]:
    return [showing for page in pages(settings, impressions, **options) for showing in page.showings]


def test_a_seed_gives_the_same_stream_twice():
    assert pages(ShopSettings(), 3000) == pages(ShopSettings(), 3000)


def test_another_seed_gives_another_stream():
    assert pages(ShopSettings(seed=1), 60) != pages(ShopSettings(seed=2), 60)


def test_live_traffic_goes_on_where_the_history_ends():
    settings = ShopSettings(turn_seconds=1)
    whole = pages(settings, 1200, history_rows=900)
    shop = Shop(settings, start_ms=START_MS, history_rows=900)
    past = list(shop.history())
    assert sum(len(page.showings) for page in past) == 900
    assert past + list(islice(shop, 50)) == whole


def test_the_history_is_before_the_start_and_live_traffic_is_not():
    shop = Shop(ShopSettings(), start_ms=START_MS, history_rows=100)
    assert all(page.elapsed_seconds < 0 for page in shop.history())
    assert next(iter(shop)).elapsed_seconds == 0


def test_impressions_come_at_the_rate():
    stream = pages(ShopSettings(rate=50), 500)
    assert stream[-1].elapsed_seconds == pytest.approx(500 / 50, abs=0.2)


@pytest.mark.parametrize("ctr", [0.03, 0.16])
@pytest.mark.parametrize("turn_seconds", [0, 1e9])
def test_the_click_rate_is_the_one_asked_for(ctr, turn_seconds):
    labels = [showing.label for showing in showings(ShopSettings(ctr=ctr, turn_seconds=turn_seconds), 30_000)]
    assert np.mean(labels) == pytest.approx(ctr, rel=0.1)


def test_the_known_probability_is_calibrated():
    rows = showings(ShopSettings(), 30_000)
    high = [row for row in rows if row.click_probability > 0.4]
    expected = np.mean([row.click_probability for row in high])
    assert np.mean([row.label for row in high]) == pytest.approx(expected, abs=0.03)


@pytest.mark.parametrize("seed", [1, 2, 7])
@pytest.mark.parametrize("turn_seconds", [0, 1e9])
def test_the_best_possible_auc_leaves_room_above_and_below(seed, turn_seconds):
    rows = showings(ShopSettings(seed=seed, turn_seconds=turn_seconds), 15_000)
    best = auc([row.click_probability for row in rows], [row.label for row in rows])
    assert 0.79 <= best <= 0.87


@pytest.mark.parametrize("seed", [1, 2, 7])
def test_position_alone_tells_little(seed):
    rows = showings(ShopSettings(seed=seed), 15_000)
    position = auc([-row.impression.position for row in rows], [row.label for row in rows])
    assert 0.5 < position <= 0.58


def test_all_tastes_flip_at_the_turn():
    settings = ShopSettings(turn_seconds=20, new_item_seconds=1e9)
    by_item: dict[bool, dict[str, list[float]]] = {False: {}, True: {}}
    for page in pages(settings, 8_000):
        for showing in page.showings:
            liked = by_item[page.turned].setdefault(showing.impression.item_id, [])
            liked.append(showing.click_probability)
    both = sorted(by_item[False].keys() & by_item[True].keys())
    before, after = ([np.mean(by_item[turned][item]) for item in both] for turned in (False, True))
    assert np.corrcoef(before, after)[0, 1] < -0.5


def test_some_clicks_are_late_and_none_falls_between():
    settings = ShopSettings(late_click_share=0.3)
    rows = [row for row in showings(settings, 6_000) if row.clicks]
    delays = [click.event_time_ms - row.impression.event_time_ms for row in rows for click in row.clicks]
    assert all(
        0 < delay <= 1000 * settings.click_seconds or delay > 1000 * settings.late_click_seconds for delay in delays
    )
    assert np.mean([row.label == 0 for row in rows]) == pytest.approx(0.3, abs=0.05)


def test_a_click_may_be_followed_by_a_cart_and_a_purchase():
    kinds = {tuple(click.kind for click in row.clicks) for row in showings(ShopSettings(), 6_000)}
    assert kinds == {(), ("click",), ("click", "cart"), ("click", "cart", "purchase")}


def test_bots_click_on_anything():
    rows = showings(ShopSettings(bot_share=0.09, ctr=0.15), 6_000)
    surprising = [row for row in rows if row.click_probability < 0.1]
    assert np.mean([bool(row.clicks) for row in surprising]) > 0.04


def test_new_items_appear():
    rows = showings(ShopSettings(new_item_seconds=0.1), 6_000)
    assert any(int(row.impression.item_id.removeprefix("item-")) > 400 for row in rows)


def test_ids_are_never_used_twice():
    rows = showings(ShopSettings(), 3_000)
    ids = [row.impression.impression_id for row in rows] + [click.click_id for row in rows for click in row.clicks]
    assert len(ids) == len(set(ids))


def test_a_feature_is_missing_now_and_then():
    missing = [row.impression.numeric["rating"] is None for row in showings(ShopSettings(), 3_000)]
    assert 0.05 < np.mean(missing) < 0.4


def test_the_history_tells_what_the_user_clicked_last():
    rows = showings(ShopSettings(), 12_000)
    clicked = {(row.impression.user_id, row.impression.item_text) for row in rows if row.clicks}
    told = {(row.impression.user_id, text) for row in rows[6_000:] for text in row.impression.history}
    assert len(clicked & told) > 0.3 * len(told)
