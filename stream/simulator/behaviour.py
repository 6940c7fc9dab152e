"""Who clicks on what: the probability of a click, held at the click-through rate that was asked for."""

import numpy as np
from numpy.typing import NDArray

from stream.simulator.settings import ShopSettings

BOT_CLICK_PROBABILITY = 0.5


class Behaviour:
    """Click probabilities of every user on every item in the catalogue.

    Taste, appeal (price and rating) and position add up in a logit; its bias is found by bisection so that the mean
    over users, items and positions is the click-through rate, before the turn of tastes as after it.

    Args:
        settings: The shop.
        liking: Taste of each user for each catalogue slot, before and after the turn, shape (2, users, slots).
        appeal: What price and rating add to the logit, shape (slots,).
    """

    def __init__(self, settings: ShopSettings, liking: NDArray[np.float64], appeal: NDArray[np.float64]) -> None:
        self._settings = settings
        self._liking = liking
        # How strong tastes are in this shop must not depend on the luck of a few draws.
        self._strength = settings.taste_strength / (float(liking[0].std()) or 1.0)
        self._appeal = appeal
        places = np.linspace(0.5, -0.5, settings.list_size) if settings.list_size > 1 else np.zeros(1)
        self._position = settings.position_strength * places
        # What people click in time, once accidents, bots and late clicks have been taken out of the asked-for rate.
        in_time = 1.0 - settings.late_click_share
        self._rate = (settings.ctr / in_time - settings.bot_share * BOT_CLICK_PROBABILITY) / (1.0 - settings.bot_share)
        self._accident = settings.accidental_share * self._rate
        self._renewed = 0
        self._bias = self._calibrated()

    def probabilities(
        self, user: int, slots: list[int], *, turned: bool
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return for each slot shown, first position first, the probability of a click and of one in time.

        The first is this user's; the second is what can be known without knowing who is a bot.
        """
        settings = self._settings
        logit = self._strength * self._liking[int(turned), user, slots] + self._appeal[slots]
        clicks = self._with_accidents(_sigmoid(self._bias[turned] + logit + self._position[: len(slots)]))
        seen = (1.0 - settings.bot_share) * clicks + settings.bot_share * BOT_CLICK_PROBABILITY
        return clicks, seen * (1.0 - settings.late_click_share)

    def replace(self, slot: int, liking: NDArray[np.float64], appeal: float) -> None:
        """Put a new item into a slot."""
        self._liking[:, :, slot] = liking
        self._appeal[slot] = appeal
        self._renewed += 1
        if self._renewed % max(1, len(self._appeal) // 20) == 0:
            self._bias = self._calibrated()

    def _with_accidents(self, wanted: NDArray[np.float64]) -> NDArray[np.float64]:
        return wanted + self._accident * (1.0 - wanted)

    def _calibrated(self) -> tuple[float, float]:
        """Return the bias for tastes as they are and for turned ones."""
        return self._bias_for(self._liking[0]), self._bias_for(self._liking[1])

    def _bias_for(self, liking: NDArray[np.float64]) -> float:
        logit = (self._strength * liking + self._appeal).ravel()
        # A few thousand quantiles stand for all users and items: the mean of a sigmoid needs no more.
        quantiles = np.quantile(logit, np.linspace(0.0, 1.0, 2001))
        middle = (quantiles[1:] + quantiles[:-1]) / 2
        grid = (middle[:, None] + self._position[None, :]).ravel()
        low, high = -30.0, 30.0
        for _ in range(50):
            bias = (low + high) / 2
            if self._with_accidents(_sigmoid(grid + bias)).mean() < self._rate:
                low = bias
            else:
                high = bias
        return (low + high) / 2


def _sigmoid(logit: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(1.0 / (1.0 + np.exp(-logit)))
