"""What a demo is asked to do, and how its minutes are spent."""

from dataclasses import dataclass
from pathlib import Path

WARM_ROWS = 4_000
"""Rows of the shop's history, or first rows of the log, that version 1 learns before the stream starts."""

OVERHEAD_SECONDS = 65.0
"""Part of the minutes that is not stream: start of Kafka, warm start, start of the processes, drain, audit, report."""

MIN_STREAM_SECONDS = 20.0


@dataclass(frozen=True, kw_only=True)
class DemoOptions:
    """A demo.

    Attributes:
        minutes: Time for all of it, from the first process to the report.
        strategy: Importance strategy of the scorer.
        budget: Expected share of rows that are learned.
        trainer: False runs everything but the trainer: the live model stays the frozen one.
        log: A recorded log to replay instead of the simulated shop.
        rate: Impressions per second.
        report: Directory of summary.json and auc.png.
    """

    minutes: float
    strategy: str
    budget: float
    trainer: bool
    log: Path | None
    rate: float
    report: Path

    @property
    def stream_seconds(self) -> float:
        """How long impressions flow."""
        return max(MIN_STREAM_SECONDS, self.minutes * 60 - OVERHEAD_SECONDS)

    @property
    def num_impressions(self) -> int:
        """How many impressions flow."""
        return round(self.rate * self.stream_seconds)

    @property
    def turn_seconds(self) -> float | None:
        """When all tastes turn, in seconds of the stream; None on a recorded log."""
        return None if self.log else self.num_impressions / self.rate / 2
