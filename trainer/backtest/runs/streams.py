"""Where the labeled impressions of a backtest come from: a recorded log, or a simulated shop that knows the truth."""

import heapq
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from hashlib import file_digest
from pathlib import Path
from typing import Any, NamedTuple, Protocol, Self

import msgspec

from stream.events import Click, Impression, LabeledImpression
from stream.join.label_join import join_log
from stream.play.recorded_log import BadLines, LogError, read_log
from stream.settings import JoinSettings
from stream.simulator.drift_kind import DriftKind
from stream.simulator.settings import ShopSettings
from stream.simulator.shop import Shop

WARM_START_ROWS = 4_000
"""Rows of a warm start, unless a tenth of the log is less."""

RECURRING_PHASES = 4
"""Phases of a recurring drift: there and back, twice."""

_SIMULATED_START_MS = 1_700_000_000_000


class StreamRow(NamedTuple):
    """One labeled impression, with what nobody knows in life.

    Attributes:
        labeled: The labeled impression; in the early-negative mode there are two of one that is clicked.
        clicked: Whether its window will have seen a click, 1 or 0, whatever its label says by now.
        click_probability: Its true probability of a click, where somebody knows it.
    """

    labeled: LabeledImpression
    clicked: int
    click_probability: float | None = None

    @property
    def final(self) -> LabeledImpression:
        """The labeled impression with the label that it will have had."""
        final: LabeledImpression = msgspec.structs.replace(self.labeled, label=self.clicked)
        return final


class Stream(Protocol):
    """Labeled impressions that can be read any number of times, by any process.

    Attributes:
        num_rows: Impressions, those of the warm start included.
        warm_start_rows: How many of the first of them version 1 learns, with their final labels.
        is_recorded: Whether every seed has the same impressions; else each has a stream of its own.
        early_negative: Whether impressions come at once as negatives, and again when they are clicked.
    """

    @property
    def num_rows(self) -> int: ...  # noqa: D102

    @property
    def warm_start_rows(self) -> int: ...  # noqa: D102

    @property
    def is_recorded(self) -> bool: ...  # noqa: D102

    @property
    def early_negative(self) -> bool: ...  # noqa: D102

    def rows(self, seed: int) -> Iterator[StreamRow]:
        """Yield the rows in the order in which they happened.

        The seed stands before every impression id, so that whatever is decided by a hash of it (who is learned, who is
        scored by which role) is drawn anew.
        """

    def with_early_negatives(self) -> "Stream":
        """Return the same impressions, each sent at once as a negative, and again when it is clicked."""

    def facts(self) -> dict[str, Any]:
        """Return what the stream is, as plain values: equal facts give equal rows."""


@dataclass(frozen=True, kw_only=True)
class _JoinedStream:
    """What the label join makes of some events."""

    join: JoinSettings
    num_rows: int
    warm_start_rows: int

    @property
    def early_negative(self) -> bool:
        """Whether impressions come at once as negatives, and again when they are clicked."""
        return self.join.early_negative

    def with_early_negatives(self) -> Self:
        """Return the same impressions, each sent at once as a negative, and again when it is clicked."""
        return replace(self, join=self.join.model_copy(update={"early_negative": True}))


@dataclass(frozen=True, kw_only=True)
class RecordedStream(_JoinedStream):
    """The labeled impressions of a log, joined as the live stream joins them. Make one with `recorded_stream`."""

    path: Path
    digest: str
    limit: int | None
    click_delay_seconds: float
    skip_bad_lines: bool
    num_bad_lines: int
    is_recorded: bool = True

    def rows(self, seed: int) -> Iterator[StreamRow]:
        """Yield the rows of the log."""
        clicked: set[str] = set()
        if self.early_negative:
            clicked.update(row.impression.impression_id for row in self._labels() if row.label)
        for labeled in self._labels():
            label = int(labeled.impression.impression_id in clicked) if self.early_negative else labeled.label
            yield StreamRow(_prefixed(labeled, seed), label)

    def _labels(self) -> Iterator[LabeledImpression]:
        bad_lines = BadLines() if self.skip_bad_lines else None
        return _labels(self.path, self.limit, self.click_delay_seconds, self.join, bad_lines)

    def facts(self) -> dict[str, Any]:
        """Return what the stream is."""
        return {
            "log": self.path.name,
            "sha256": self.digest,
            "limit": self.limit,
            "click_delay_seconds": self.click_delay_seconds,
            "window_seconds": self.join.window_seconds,
            "lateness_seconds": self.join.lateness_seconds,
            "early_negative": self.early_negative,
            "rows": self.num_rows,
            "bad_lines": self.num_bad_lines,
            "warm_start_rows": self.warm_start_rows,
        }


@dataclass(frozen=True, kw_only=True)
class SimulatedStream(_JoinedStream):
    """The shop's pages without Kafka and without dirt: every seed is another shop. Make one with `simulated_stream`."""

    shop: ShopSettings
    is_recorded: bool = False

    @property
    def turn_rows(self) -> list[int]:
        """Places in the stream where tastes turn; of a gradual turn, its beginning and its end."""
        turn, half = self.shop.turn_seconds, self.shop.gradual_seconds / 2
        seconds = {"none": [], "sudden": [turn], "gradual": [turn - half, turn + half]}.get(
            self.shop.drift, [turn * number for number in range(1, RECURRING_PHASES)]
        )
        return [self.warm_start_rows + round(second * self.shop.rate) for second in seconds]

    def rows(self, seed: int) -> Iterator[StreamRow]:
        """Yield the rows of the seed's shop; the warm start is its past."""
        shop = Shop(
            self.shop.model_copy(update={"seed": self.shop.seed + seed}),
            start_ms=_SIMULATED_START_MS,
            history_rows=self.warm_start_rows,
        )
        truth: dict[str, tuple[int, float]] = {}
        for labeled in join_log(_shop_events(shop, self.num_rows, truth), self.join):
            yield StreamRow(_prefixed(labeled, seed), *truth[labeled.impression.impression_id])

    def facts(self) -> dict[str, Any]:
        """Return what the stream is."""
        return {
            "simulated": self.shop.drift,
            "turn_rows": self.turn_rows,
            "rows": self.num_rows,
            "warm_start_rows": self.warm_start_rows,
            "early_negative": self.early_negative,
            "shop": self.shop.model_dump(mode="json"),
        }


def recorded_stream(
    path: Path,
    *,
    limit: int | None = None,
    warm_start_rows: int | None = None,
    click_delay_seconds: float = 1.0,
    skip_bad_lines: bool = False,
) -> RecordedStream:
    """Return the labeled impressions of a log, read once to count them and to see that all of it can be used.

    Args:
        path: The log; formats in stream/play/recorded_log.py.
        limit: Impressions to read; all when None.
        warm_start_rows: Rows version 1 learns; 4,000, or a tenth of the log if that is less, when None.
        click_delay_seconds: When a positive row of the plain format was clicked.
        skip_bad_lines: Whether unusable lines are left out and counted.

    Raises:
        LogError: the log cannot be read.
        ValueError: the numbers do not fit each other.
    """
    join = JoinSettings()
    if click_delay_seconds > join.window_seconds:
        message = (
            f"--click-delay {click_delay_seconds:g} is longer than the attribution window of {join.window_seconds:g} s "
            "(MILLSTREAM_JOIN_WINDOW_SECONDS), so that no row would be positive; shorten it"
        )
        raise ValueError(message)
    bad_lines = BadLines() if skip_bad_lines else None
    num_rows = sum(row.revision == 0 for row in _labels(path, limit, click_delay_seconds, join, bad_lines))
    with path.open("rb") as file:
        digest = file_digest(file, "sha256").hexdigest()
    if num_rows < 2:
        message = f"{path} holds {num_rows} impressions; a backtest needs some thousands"
        raise LogError(message)
    return RecordedStream(
        path=path.absolute(),
        digest=digest,
        limit=limit,
        click_delay_seconds=click_delay_seconds,
        join=join,
        skip_bad_lines=skip_bad_lines,
        num_rows=num_rows,
        num_bad_lines=bad_lines.count if bad_lines else 0,
        warm_start_rows=_warm_start_rows(num_rows, warm_start_rows),
    )


def simulated_stream(
    drift: DriftKind, num_rows: int, *, warm_start_rows: int | None = None, ctr: float | None = None
) -> SimulatedStream:
    """Return a simulated shop whose tastes turn in the middle of what follows the warm start.

    A gradual turn takes a quarter of those rows; a recurring one makes four phases of them.

    Args:
        drift: How tastes change.
        num_rows: Impressions, those of the warm start included.
        warm_start_rows: Rows version 1 learns; 4,000, or a tenth of all if that is less, when None.
        ctr: Share of impressions with a click in time; the configured one when None.

    Raises:
        ValueError: the numbers do not fit each other.
    """
    warm = _warm_start_rows(num_rows, warm_start_rows)
    shop = ShopSettings(drift=drift) if ctr is None else ShopSettings(drift=drift, ctr=ctr)
    live_seconds = (num_rows - warm) / shop.rate
    shop = shop.model_copy(
        update={
            "turn_seconds": live_seconds / (RECURRING_PHASES if drift == "recurring" else 2),
            "gradual_seconds": live_seconds / 4,
        }
    )
    # Between the prompt clicks and the late ones, as a window should be.
    join = JoinSettings(window_seconds=(shop.click_seconds + shop.late_click_seconds) / 2)
    return SimulatedStream(shop=shop, join=join, num_rows=num_rows, warm_start_rows=warm)


def _warm_start_rows(num_rows: int, asked: int | None) -> int:
    rows = min(WARM_START_ROWS, num_rows // 10) if asked is None else asked
    if rows >= num_rows:
        message = (
            f"--warm-start {rows} leaves nothing of the {num_rows} rows to be scored; lower it, or take more rows "
            "(--limit)"
        )
        raise ValueError(message)
    return rows


def _labels(
    path: Path, limit: int | None, click_delay_seconds: float, join: JoinSettings, bad_lines: BadLines | None
) -> Iterator[LabeledImpression]:
    return join_log(read_log(path, click_delay_seconds=click_delay_seconds, limit=limit, bad_lines=bad_lines), join)


def _prefixed(labeled: LabeledImpression, seed: int) -> LabeledImpression:
    impression = labeled.impression
    renamed: Impression = msgspec.structs.replace(impression, impression_id=f"{seed}-{impression.impression_id}")
    prefixed: LabeledImpression = msgspec.structs.replace(labeled, impression=renamed)
    return prefixed


def _shop_events(shop: Shop, num_rows: int, truth: dict[str, tuple[int, float]]) -> Iterator[Impression | Click]:
    """Yield the first impressions of a shop and their clicks in time order, noting label and probability of each."""
    showings = (showing for page in itertools.chain(shop.history(), shop) for showing in page.showings)
    due: list[tuple[int, str, Click]] = []
    for showing in itertools.islice(showings, num_rows):
        impression = showing.impression
        while due and due[0][0] < impression.event_time_ms:
            yield heapq.heappop(due)[2]
        truth[impression.impression_id] = showing.label, showing.click_probability
        yield impression
        for click in showing.clicks:
            heapq.heappush(due, (click.event_time_ms, click.click_id, click))
    while due:
        yield heapq.heappop(due)[2]
