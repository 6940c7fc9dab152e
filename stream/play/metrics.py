"""Metrics of whoever plays events: `millstream simulate` and `millstream replay`."""

from collections import deque
from typing import get_args

from prometheus_client import CollectorRegistry

from stream.play.best_possible import best_possible_auc
from stream.play.ledger import RecordKind
from stream.play.producer import CLICK_KINDS
from stream.process.metric_families import MetricFamilies

WINDOW_ROWS = 4_000
"""Impressions behind the windowed values."""


class ShopMetrics:
    """Counts what was delivered, and knows the best AUC that any model could have over the latest impressions.

    Args:
        registry: Where the metrics are shown.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        families = MetricFamilies(registry, "shop")
        self._impressions = families.counter("impressions", "Impressions delivered")
        self._clicks = families.counter("clicks", "Clicks delivered, late ones included")
        self._junk = families.counter(
            "junk",
            "Records delivered that no model should learn from",
            kind=(kind for kind in get_args(RecordKind) if kind not in {"impression", "click"}),
        )
        self._failed = families.counter("failed", "Records that Kafka did not confirm")
        self._window: deque[tuple[int, float | None]] = deque(maxlen=WINDOW_ROWS)
        ctr = families.gauge("ctr_ratio", "Share clicked of the latest impressions")
        ctr.set_function(self._ctr)
        best = families.gauge(
            "best_possible_auc_ratio",
            "AUC of the true click probability over the latest impressions; NaN where it is not known",
        )
        best.set_function(self._best_possible_auc)

    def delivered(self, kind: RecordKind) -> None:
        """Count a confirmed record."""
        if kind == "impression":
            self._impressions.inc()
        if kind in CLICK_KINDS:
            self._clicks.inc()
        if kind not in {"impression", "click"}:
            self._junk.labels(kind).inc()

    def failed(self) -> None:
        """Count a record that was not confirmed."""
        self._failed.inc()

    def labeled(self, label: int, click_probability: float | None) -> None:
        """Take an impression whose window is over into the windowed values."""
        self._window.append((label, click_probability))

    def _ctr(self) -> float:
        labels = [label for label, _probability in list(self._window)]
        return sum(labels) / len(labels) if labels else float("nan")

    def _best_possible_auc(self) -> float:
        known = [(label, probability) for label, probability in list(self._window) if probability is not None]
        return best_possible_auc([probability for _, probability in known], [label for label, _ in known])
