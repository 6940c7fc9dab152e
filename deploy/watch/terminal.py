"""The live view of a demo: one table in a terminal, one plain line every few seconds elsewhere."""

import time
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.table import Table

from deploy.watch.scrape import Scrape

PLAIN_SECONDS = 10.0
"""Pause between two lines where there is no terminal."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What the view shows of one moment; None where nobody knows it yet."""

    elapsed_seconds: float
    impressions: float
    impressions_per_second: float
    ctr: float | None
    auc_live: float | None
    auc_frozen: float | None
    auc_best_possible: float | None
    promoted: float
    held: float
    swaps: float
    freshness_seconds: float | None
    dead_letters: float

    @classmethod
    def from_scrape(cls, scrape: Scrape, elapsed_seconds: float, earlier: "Reading | None") -> "Reading":
        """Return the reading of a scrape; `earlier` gives the rate its base."""
        # The shop takes its counts with it when it ends.
        impressions = max(scrape.total("millstream_shop_impressions_total"), earlier.impressions if earlier else 0.0)
        rate = 0.0
        if earlier is not None and elapsed_seconds > earlier.elapsed_seconds:
            rate = (impressions - earlier.impressions) / (elapsed_seconds - earlier.elapsed_seconds)
        return cls(
            elapsed_seconds=elapsed_seconds,
            impressions=impressions,
            impressions_per_second=rate,
            ctr=scrape.get("millstream_evaluator_ctr_ratio"),
            auc_live=scrape.get("millstream_evaluator_auc_ratio", role="live"),
            auc_frozen=scrape.get("millstream_evaluator_auc_ratio", role="frozen"),
            auc_best_possible=scrape.get("millstream_shop_best_possible_auc_ratio"),
            promoted=scrape.total("millstream_trainer_gate_decisions_total", decision="promote"),
            held=scrape.total("millstream_trainer_gate_decisions_total", decision="hold"),
            swaps=scrape.total("millstream_scorer_swaps_total", result="switched"),
            freshness_seconds=scrape.get("millstream_evaluator_freshness_p95_seconds"),
            dead_letters=scrape.total("millstream_stream_dead_letters_total"),
        )

    def items(self) -> list[tuple[str, str]]:
        """Return (name, value) pairs, ready to print."""
        return [
            ("time", f"{self.elapsed_seconds:.0f} s"),
            ("impressions", f"{self.impressions:,.0f}"),
            ("impressions/s", f"{self.impressions_per_second:.0f}"),
            ("CTR", _percent(self.ctr)),
            ("AUC live", _number(self.auc_live)),
            ("AUC frozen", _number(self.auc_frozen)),
            ("AUC best possible", _number(self.auc_best_possible)),
            ("promoted / held", f"{self.promoted:.0f} / {self.held:.0f}"),
            ("swaps", f"{self.swaps:.0f}"),
            ("freshness p95", "-" if self.freshness_seconds is None else f"{self.freshness_seconds:.1f} s"),
            ("dead letters", f"{self.dead_letters:.0f}"),
        ]


class LiveView:
    """Shows readings until it is closed.

    Args:
        console: Where to; decides by itself whether it is a terminal.
        title: Heading of the table.
    """

    def __init__(self, console: Console, title: str) -> None:
        self._console = console
        self._title = title
        self._live = Live(console=console, refresh_per_second=2, transient=True) if console.is_terminal else None
        self._next_line_at = 0.0

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, reading: Reading, *, note: str = "") -> None:
        """Show a reading; without a terminal at most one line in `PLAIN_SECONDS`."""
        if self._live is not None:
            self._live.update(self._table(reading, note))
        elif time.monotonic() >= self._next_line_at:
            self._next_line_at = time.monotonic() + PLAIN_SECONDS
            line = "  ".join(f"{name} {value}" for name, value in reading.items())
            self._console.print(f"{line}  {note}".rstrip(), soft_wrap=True, highlight=False)

    def _table(self, reading: Reading, note: str) -> Table:
        table = Table(title=self._title, caption=note or "Ctrl-C drains and ends", show_header=False)
        table.add_column(style="bold")
        table.add_column(justify="right", min_width=12)
        for name, value in reading.items():
            table.add_row(name, value)
        return table


def _number(value: float | None) -> str:
    return "-" if value is None or value != value else f"{value:.3f}"  # noqa: PLR0124 (NaN differs from itself)


def _percent(value: float | None) -> str:
    return "-" if value is None or value != value else f"{100 * value:.1f} %"  # noqa: PLR0124
