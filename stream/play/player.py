"""Everything that playing events needs, put together: Kafka, ledger, metrics, progress, signals."""

import threading
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from stream.play.ledger import LedgerWriter
from stream.play.metrics import ShopMetrics
from stream.play.playback import Playback
from stream.play.producer import EventProducer, ProducerCounts
from stream.play.progress import PlaybackProgress
from stream.process.exposition import process_registry, serve_metrics
from stream.process.signals import stop_on_signals
from stream.settings import KafkaSettings, MetricsSettings


@dataclass(frozen=True, kw_only=True)
class PlayerOptions:
    """How events are played.

    Attributes:
        window_seconds: The attribution window, which decides the labels in the ledger.
        ledger: Parquet file of the producer's ledger.
        rate: Most impressions per second; None for no cap.
        seconds: When to stop by itself; None for never.
        total: Impressions to play, for the progress; None when that is not known.
    """

    window_seconds: float
    ledger: Path
    rate: float | None = None
    seconds: float | None = None
    total: int | None = None


class Player:
    """Plays events from entry to exit; leaving it sends what is still due and waits for every confirmation.

    SIGINT and SIGTERM end the playback instead of the process.

    Args:
        title: What is played.
        kafka: The cluster.
        metrics: Where metrics are shown.
        options: How to play.
    """

    playback: Playback
    progress: PlaybackProgress

    def __init__(self, title: str, kafka: KafkaSettings, metrics: MetricsSettings, options: PlayerOptions) -> None:
        self._stack = ExitStack()
        with ExitStack() as stack:
            registry = process_registry()
            stop = stack.enter_context(stop_on_signals(threading.Event()))
            serve_metrics("shop", metrics, registry)
            ledger = stack.enter_context(closing(LedgerWriter(options.ledger)))
            producer = EventProducer(kafka, options.window_seconds, ledger, ShopMetrics(registry))
            self._producer = stack.enter_context(closing(producer))
            self.progress = stack.enter_context(PlaybackProgress(title, options.total))
            self.playback = Playback(self._producer, rate=options.rate, seconds=options.seconds, stop=stop)
            self._stack = stack.pop_all()
        self._unsent = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._unsent = self.playback.finish()
        finally:
            self._stack.close()

    def counts(self) -> ProducerCounts:
        """Return the counts; exact once the player was left."""
        counts = self._producer.counts()
        counts.unsent = self._unsent
        return counts
