import numpy as np
import pytest

from stream.simulator.behaviour import Behaviour
from stream.simulator.settings import ShopSettings


def label_rate(settings: ShopSettings, *, turned: bool) -> float:
    rng = np.random.default_rng(3)
    # Far from symmetric, so that flipped tastes need a bias of their own.
    liking = rng.exponential(size=(60, 120)) - 1.0
    behaviour = Behaviour(settings, np.stack([liking, -liking]), rng.normal(size=120) * 0.1)
    rates = []
    for user in range(60):
        for start in range(0, 120, settings.list_size):
            slots = list(range(start, start + settings.list_size))
            rates.append(behaviour.probabilities(user, slots, turned=turned)[1].mean())
    return float(np.mean(rates))


@pytest.mark.parametrize("ctr", [0.01, 0.03, 0.15, 0.4])
@pytest.mark.parametrize("turned", [False, True])
def test_the_click_rate_holds_before_and_after_the_flip(ctr, turned):
    assert label_rate(ShopSettings(ctr=ctr), turned=turned) == pytest.approx(ctr, rel=0.03)


def test_a_flip_reverses_what_is_liked():
    settings = ShopSettings(position_strength=0)
    behaviour = Behaviour(settings, np.array([[[2.0, -2.0]] * 3, [[-2.0, 2.0]] * 3]), np.zeros(2))
    before, _ = behaviour.probabilities(0, [0, 1], turned=False)
    after, _ = behaviour.probabilities(0, [0, 1], turned=True)
    assert before[0] > before[1]
    assert after[0] < after[1]


def test_a_click_is_less_likely_further_down():
    behaviour = Behaviour(ShopSettings(), np.zeros((2, 3, 6)), np.zeros(6))
    probabilities, _ = behaviour.probabilities(0, list(range(6)), turned=False)
    assert (np.diff(probabilities) < 0).all()


def test_late_clicks_are_no_clicks_in_time():
    settings = ShopSettings(late_click_share=0.5, bot_share=0)
    clicks, in_time = Behaviour(settings, np.zeros((2, 3, 6)), np.zeros(6)).probabilities(0, [0, 1], turned=False)
    assert np.allclose(in_time, clicks / 2)


def test_a_new_item_is_liked_for_what_it_is():
    behaviour = Behaviour(ShopSettings(), np.zeros((2, 3, 50)), np.zeros(50))
    before, _ = behaviour.probabilities(1, [7], turned=False)
    behaviour.replace(7, np.array([[0.0, 3.0, 0.0], [0.0, -3.0, 0.0]]), 0.0)
    after, _ = behaviour.probabilities(1, [7], turned=False)
    assert after[0] > before[0]
