"""The shop: an endless, reproducible stream of pages in event time."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream.events import Click, Impression
from stream.simulator.behaviour import Behaviour
from stream.simulator.catalogue import Catalogue, Item
from stream.simulator.drift import turned_share
from stream.simulator.settings import ShopSettings
from stream.simulator.tastes import NUM_GROUPS, Tastes, turned_values
from stream.simulator.users import User
from stream.simulator.words import WORDS


@dataclass(frozen=True, kw_only=True)
class Showing:
    """One impression and its future.

    Attributes:
        impression: What is shown.
        clicks: Its clicks to come, in time order; late ones too.
        click_probability: Probability of a click in time, given all that can be seen; who is a bot cannot.
        label: 1 if a click will come in time.
    """

    impression: Impression
    clicks: tuple[Click, ...]
    click_probability: float
    label: int


@dataclass(frozen=True, kw_only=True)
class Page:
    """The list shown for one query.

    Attributes:
        elapsed_seconds: Seconds of live traffic; negative in the shop's history.
        turned: Whether this list is judged by turned tastes.
        showings: The list, first position first.
    """

    elapsed_seconds: float
    turned: bool
    showings: tuple[Showing, ...]


class Shop:
    """Yields pages for ever; the same arguments give the same pages.

    The first `history_rows` impressions are the shop's past: their elapsed time is negative and the turn is not theirs.
    A second shop with the same settings and rows goes on exactly where the first one's history ends, so one process can
    write the history and another play what follows.

    Args:
        settings: The shop.
        start_ms: Epoch milliseconds of elapsed time 0.
        history_rows: Impressions before elapsed time 0.
        run: Put before every id; two runs into the same topics must differ.
    """

    def __init__(self, settings: ShopSettings, *, start_ms: int, history_rows: int = 0, run: str = "shop") -> None:
        world, self._rng = (np.random.default_rng(seed) for seed in np.random.SeedSequence(settings.seed).spawn(2))
        self._settings = settings
        self._start_ms = start_ms
        self._history_rows = history_rows
        self._run = run
        self._shown = 0
        self._clicks = 0
        self._new_items = 0
        self._words = WORDS[settings.language]
        self._catalogue = Catalogue(settings.items, self._words, world)
        groups = np.arange(settings.users) % NUM_GROUPS
        turned = turned_values(settings.turned_tastes, settings.seed)
        self._tastes = Tastes(groups, settings.shared_share, turned, world)
        liking = np.stack([self._tastes.of_all(item) for item in self._catalogue.items], axis=2)
        appeal = np.array([item.appeal for item in self._catalogue.items])
        self._behaviour = Behaviour(settings, liking, appeal)
        self._users = [self._user(number, int(group), liking[0, number], world) for number, group in enumerate(groups)]

    def __iter__(self) -> Iterator[Page]:
        """Yield the next page, for ever."""
        while True:
            yield self._page()

    def history(self) -> Iterator[Page]:
        """Yield the pages of the shop's past that are still to come; afterwards the shop goes live."""
        while self._shown < self._history_rows:
            yield self._page()

    def _user(self, number: int, group: int, liking: NDArray[np.float64], rng: np.random.Generator) -> User:
        """Return a user who already likes some of the items that suit their taste best."""
        best = np.argsort(-liking)[: len(liking) // 10]
        titles = [self._catalogue.items[index].title for index in rng.permutation(best)]
        limit = self._settings.history_items
        return User(user_id=f"user-{number:05d}", group=group, liked=deque(titles[:limit], maxlen=limit))

    def _page(self) -> Page:
        settings, rng = self._settings, self._rng
        elapsed = (self._shown - self._history_rows) / settings.rate
        size = settings.list_size
        if self._shown < self._history_rows:
            size = min(size, self._history_rows - self._shown)
        self._renew_catalogue(elapsed)
        turned = bool(rng.random() < turned_share(settings, elapsed))
        user_number = int(rng.integers(len(self._users)))
        user = self._users[user_number]
        query, slots = self._search(user, size)
        probabilities, label_probabilities = self._behaviour.probabilities(user_number, slots, turned=turned)
        if rng.random() < settings.bot_share:
            probabilities = np.full(len(slots), 0.5)
        history = user.history_at(elapsed)
        showings = []
        for place, slot in enumerate(slots):
            item = self._catalogue.items[slot]
            impression = self._impression(user, query, item, history, place + 1, elapsed)
            clicked = bool(rng.random() < probabilities[place])
            clicks = self._clicks_on(impression) if clicked else ()
            delays = [click.event_time_ms - impression.event_time_ms for click in clicks]
            if clicked:
                user.clicked.append((elapsed + delays[0] / 1000, item.title))
            showings.append(
                Showing(
                    impression=impression,
                    clicks=clicks,
                    click_probability=float(label_probabilities[place]),
                    label=int(bool(delays) and delays[0] <= settings.click_seconds * 1000),
                )
            )
        self._shown += len(showings)
        return Page(elapsed_seconds=elapsed, turned=turned, showings=tuple(showings))

    def _renew_catalogue(self, elapsed: float) -> None:
        """Let the new items appear that are due; each takes the place of the oldest one of its kind."""
        age = elapsed + self._history_rows / self._settings.rate
        while self._new_items < int(age / self._settings.new_item_seconds):
            self._new_items += 1
            slot, item = self._catalogue.renew(self._rng)
            self._behaviour.replace(slot, self._tastes.of_all(item), item.appeal)

    def _search(self, user: User, size: int) -> tuple[str, list[int]]:
        """Return a query and the catalogue slots shown for it: a noun with the user's occasion, a colour or a style."""
        rng = self._rng
        noun = int(rng.integers(len(self._words.nouns)))
        slots = rng.permutation(self._catalogue.by_noun[noun])
        kind = rng.random()
        word = self._words.occasions[user.group]
        if kind < 0.3:
            # A word of an item that exists; items with that word come first.
            attribute, words = (0, self._words.styles) if kind < 0.15 else (1, self._words.colours)
            wanted = self._catalogue.items[slots[0]].attributes[attribute]
            word = words[wanted]
            slots = np.array(
                sorted(slots, key=lambda slot: self._catalogue.items[slot].attributes[attribute] != wanted)
            )
        chosen = slots[:size]
        return f"{word} {self._words.nouns[noun]}", [int(slot) for slot in rng.permutation(chosen)]

    def _impression(
        self, user: User, query: str, item: Item, history: tuple[str, ...], position: int, elapsed: float
    ) -> Impression:
        number = self._shown + position - 1
        return Impression(
            impression_id=f"{self._run}-{number:08d}",
            event_time_ms=self._start_ms + round(elapsed * 1000),
            user_id=user.user_id,
            query=query,
            item_id=item.item_id,
            item_text=item.title,
            history=history,
            position=position,
            numeric={"price": item.price, "rating": item.rating},
        )

    def _clicks_on(self, impression: Impression) -> tuple[Click, ...]:
        """Return the click and what follows it; all prompt or all late, so the label is decided by the first."""
        settings, rng = self._settings, self._rng
        kinds = ["click"]
        if rng.random() < settings.cart_share:
            kinds.append("cart")
            if rng.random() < 0.5:
                kinds.append("purchase")
        first, longest = 0.05 * settings.click_seconds, settings.click_seconds
        if rng.random() < settings.late_click_share:
            first, longest = 1.05 * settings.late_click_seconds, 2.0 * settings.late_click_seconds
        # People who click do it soon: a beta distribution leaning to the left of the allowed time.
        delays = np.sort(first + (longest - first) * rng.beta(1.5, 3.0, size=len(kinds)))
        clicks = []
        for kind, delay in zip(kinds, delays, strict=True):
            self._clicks += 1
            clicks.append(
                Click(
                    click_id=f"{self._run}-c{self._clicks:08d}",
                    impression_id=impression.impression_id,
                    event_time_ms=impression.event_time_ms + round(1000 * delay),
                    kind=kind,  # type: ignore[arg-type]
                )
            )
        return tuple(clicks)
