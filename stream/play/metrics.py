"""Metrics of whoever plays events: `millstream simulate` and `millstream replay`."""

from collections import deque
from typing import get_args

from prometheus_client import CollectorRegistry, Counter, Gauge

from stream.play.best_possible import best_possible_auc
from stream.play.ledger import RecordKind
from stream.play.producer import CLICK_KINDS

WINDOW_ROWS = 4_000
"""Impressions behind the windowed values."""


class ShopMetrics:
    """Counts what was delivered, and knows the best AUC that any model could have over the latest impressions.

    Args:
        registry: Where the metrics are shown.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._impressions = Counter("millstream_shop_impressions", "Impressions delivered", registry=registry)
        self._clicks = Counter("millstream_shop_clicks", "Clicks delivered, late ones included", registry=registry)
        self._junk = Counter(
            "millstream_shop_junk", "Records delivered that no model should learn from", ["kind"], registry=registry
        )
        self._failed = Counter("millstream_shop_failed", "Records that Kafka did not confirm", registry=registry)
        for kind in get_args(RecordKind):
            if kind not in {"impression", "click"}:
                self._junk.labels(kind)
        self._window: deque[tuple[int, float | None]] = deque(maxlen=WINDOW_ROWS)
        ctr = Gauge("millstream_shop_ctr_ratio", "Share clicked of the latest impressions", registry=registry)
        ctr.set_function(self._ctr)
        best = Gauge(
            "millstream_shop_best_possible_auc_ratio",
            "AUC of the true click probability over the latest impressions; NaN where it is not known",
            registry=registry,
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
