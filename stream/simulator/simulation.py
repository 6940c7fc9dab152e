"""`millstream simulate`: the shop, live on Kafka; and its past, written to a file."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import msgspec

from stream.events import Click, Impression
from stream.play.player import Player, PlayerOptions
from stream.play.producer import ProducerCounts
from stream.play.recorded_log import write_events
from stream.settings import KafkaSettings, MetricsSettings
from stream.simulator.settings import ShopSettings
from stream.simulator.shop import Page, Shop
from stream.simulator.traffic import Traffic


class SimulationCounts(ProducerCounts, kw_only=True):
    """What a simulated shop sent.

    Attributes:
        turn_ms: Event time of the first page judged by flipped tastes; null when there was none.
    """

    turn_ms: int | None = None


def simulate(
    settings: ShopSettings,
    kafka: KafkaSettings,
    metrics: MetricsSettings,
    options: PlayerOptions,
    *,
    history_rows: int = 0,
) -> SimulationCounts:
    """Play the shop live until its impressions or its time are over, or a signal ends it.

    Args:
        settings: The shop.
        kafka: The cluster; its topics must exist.
        metrics: Where metrics are shown.
        options: How to play; `options.total` impressions at most.
        history_rows: Length of the shop's history that `write_history` wrote; live traffic goes on from there.

    Returns:
        The counts, exact.

    Raises:
        ClusterError: no Kafka or no topic.
        ValueError: no free metrics port, or settings that do not fit each other.
    """
    start_ms = round(time.time() * 1000)
    shop = Shop(settings, start_ms=start_ms, history_rows=history_rows, run=f"{start_ms:x}")
    for _page in shop.history():
        pass  # it was played before; the shop only has to live through it again
    with Player("simulated shop", kafka, metrics, options) as player:
        traffic = Traffic(settings, options.window_seconds, player.playback, run=f"{start_ms:x}")
        for page in _at_most(options.total, shop):
            if not traffic.play(page):
                break
            player.progress.advance(len(page.showings))
    return SimulationCounts(**msgspec.structs.asdict(player.counts()), turn_ms=traffic.turn_ms)


def write_history(settings: ShopSettings, rows: int, path: Path, *, end_ms: int | None = None) -> int:
    """Write the shop's impressions and clicks before its live traffic, as a log of our own events.

    A `simulate` with the same settings and `history_rows=rows` goes on where this ends.

    Args:
        settings: The shop.
        rows: Impressions to write.
        path: The log; .jsonl, .jsonl.gz or .parquet.
        end_ms: No event is later than this; now when None.

    Returns:
        Events written.
    """
    end_ms = round(time.time() * 1000) if end_ms is None else end_ms
    # The last impressions get their late clicks too: these come up to twice late_click_seconds after them.
    start_ms = end_ms - round(2000 * settings.late_click_seconds)
    shop = Shop(settings, start_ms=start_ms, history_rows=rows, run=f"{end_ms:x}-past")
    return write_events(path, _in_time_order(shop))


def _at_most(impressions: int | None, pages: Iterable[Page]) -> Iterator[Page]:
    """Yield pages until that many impressions were shown; the last page may be cut."""
    left = impressions
    for page in pages:
        if left is None:
            yield page
        elif left > 0:
            yield replace(page, showings=page.showings[:left])
            left -= len(page.showings)
        else:
            break


def _in_time_order(shop: Shop) -> Iterator[Impression | Click]:
    events: list[Impression | Click] = []
    for page in shop.history():
        for showing in page.showings:
            events += [showing.impression, *showing.clicks]
    # Stable: at one millisecond an impression stays before its click.
    yield from sorted(events, key=lambda event: event.event_time_ms)
