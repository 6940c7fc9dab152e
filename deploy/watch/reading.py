"""What a view shows of one moment: a terminal and a page show the same."""

from dataclasses import dataclass
from typing import Self

from deploy.watch.scrape import Scrape


@dataclass(frozen=True, kw_only=True)
class Reading:
    """One moment of all processes; None where nobody knows it yet.

    `worth` is live minus frozen in AUC: the estimate, and both ends of its interval.
    """

    elapsed_seconds: float
    impressions: float
    impressions_per_second: float
    ctr: float | None
    auc_live: float | None
    auc_frozen: float | None
    auc_best_possible: float | None
    worth: tuple[float, float, float] | None
    promoted: float
    held: float
    swaps: float
    freshness_seconds: float | None
    dead_letters: float

    @classmethod
    def from_scrape(cls, scrape: Scrape, elapsed_seconds: float, earlier: Self | None) -> Self:
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
            worth=_worth(scrape),
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
            ("retraining is worth", _points(self.worth)),
            ("promoted / held", f"{self.promoted:.0f} / {self.held:.0f}"),
            ("swaps", f"{self.swaps:.0f}"),
            ("freshness p95", "-" if self.freshness_seconds is None else f"{self.freshness_seconds:.1f} s"),
            ("dead letters", f"{self.dead_letters:.0f}"),
        ]


def _worth(scrape: Scrape) -> tuple[float, float, float] | None:
    """Return live minus frozen in AUC, with the ends of its interval."""
    estimate, low, high = (
        scrape.get(f"millstream_evaluator_worth_auc{end}_ratio", rows="all") for end in ("", "_low", "_high")
    )
    return None if estimate is None or low is None or high is None else (estimate, low, high)


def _points(worth: tuple[float, float, float] | None) -> str:
    if worth is None:
        return "-"
    estimate, low, high = (100 * value for value in worth)
    return f"{estimate:+.1f} points [{low:+.1f}, {high:+.1f}]"


def _number(value: float | None) -> str:
    return "-" if value is None or value != value else f"{value:.3f}"  # noqa: PLR0124 (NaN differs from itself)


def _percent(value: float | None) -> str:
    return "-" if value is None or value != value else f"{100 * value:.1f} %"  # noqa: PLR0124
