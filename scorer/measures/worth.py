"""What retraining is worth: live minus frozen, paired on the rows that both scored, with what chance leaves open.

Rows are compared in spans, since scores of distant versions must not be ranked against each other, and the interval
draws blocks of spans, since what differs in one mostly differs in the next one too.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypedDict

import numpy as np
import numpy.typing as npt

from scorer.measures.auc import Interval
from scorer.measures.compared import compared
from scorer.measures.differences import MIN_SPANS, Differences, block_interval
from scorer.measures.log_loss import row_log_loss
from scorer.measures.spans import MIN_OF_A_CLASS, MIN_ROWS, cut_spans

Doubles = npt.NDArray[np.float64]
SpanTable = Doubles
"""Spans in their order, [S, 5]: rows, pairs of a clicked row and another one, and over these live minus frozen in AUC
and in mean log loss, with the mean square of the latter's rows."""

MAX_SPANS = 1_024
"""Spans remembered; beyond, the older half becomes half as many of twice the length."""

RECENT_SPANS = 16
MAX_SPAN_ROWS = 64 * MIN_ROWS
"""Rows at which a span ends even if clicks are missing: no stream may fill the memory."""

_NORMAL_95 = 1.959964


@dataclass(frozen=True, kw_only=True)
class Worth:
    """Live minus frozen.

    Attributes:
        num_rows: Rows compared.
        num_spans: In so many spans, of each stream if there are several.
        effective_rows: As many independent rows would tell the difference of log loss as well; NaN without interval.
        auc: Difference of AUC; None while spans are too few to resample.
        log_loss: Difference of mean log loss, in nats; below zero live is better.
    """

    num_rows: int
    num_spans: int
    effective_rows: float
    auc: Interval | None
    log_loss: Interval | None

    @property
    def sentence(self) -> str:
        """What a reader decides by, in one line."""
        if self.auc is None or self.log_loss is None:
            return (
                f"too few rows to say what retraining is worth: {self.num_spans} spans of at least {MIN_ROWS} rows, "
                f"scored by live and frozen version, {MIN_SPANS} are needed"
            )
        points = f"{100 * self.auc.estimate:+.1f} points of AUC [{100 * self.auc.low:+.1f}, {100 * self.auc.high:+.1f}]"
        if self.auc.low > 0:
            said = f"retraining is worth {points} here"
        elif self.auc.high < 0:
            said = f"retraining does harm here: {points}"
        else:
            said = f"nothing to gain in ranking yet: {points}"
        loss = self.log_loss
        return f"{said}; log loss {loss.estimate:+.4f} [{loss.low:+.4f}, {loss.high:+.4f}]"


def span_table(z_live: Doubles, z_frozen: Doubles, label: npt.ArrayLike) -> SpanTable:
    """Compare two versions span by span, on the rows that have both logits; all arrays of shape [N]."""
    both = np.isfinite(z_live) & np.isfinite(z_frozen)
    z_live, z_frozen, label = z_live[both], z_frozen[both], np.asarray(label)[both]
    rows = [_span(z_live[span], z_frozen[span], label[span]) for span in cut_spans(label)]
    return np.array(rows, dtype=np.float64).reshape(-1, 5)


def worth_of(
    tables: Sequence[SpanTable],
    interval: Callable[[Sequence[Differences]], Interval | None] = block_interval,
) -> Worth:
    """Return what retraining was worth over one or more streams.

    Args:
        tables: Spans of each stream.
        interval: Makes the interval of a difference over the streams.
    """
    num_rows = sum(int(table[:, 0].sum()) for table in tables)
    num_spans = min(int((table[:, 1] > 0).sum()) for table in tables)
    by_auc = by_log_loss = None
    if num_spans >= MIN_SPANS:
        by_auc = interval([_differences(table[:, 2], table[:, 1]) for table in tables])
        by_log_loss = interval([_differences(table[:, 3], table[:, 0]) for table in tables])
    return Worth(
        num_rows=num_rows,
        num_spans=num_spans,
        effective_rows=_effective_rows(np.concatenate(tables), by_log_loss) if by_log_loss else math.nan,
        auc=by_auc,
        log_loss=by_log_loss,
    )


class WorthSnapshot(TypedDict):
    """What `RunningWorth.restore` takes.

    Attributes:
        spans: The spans that have ended.
        open: Logits of live and frozen, and labels, of the rows since, [N, 3].
        frozen: Name of the frozen version.
    """

    spans: SpanTable
    open: Doubles
    frozen: npt.NDArray[np.str_]


class RunningWorth:
    """The same on a stream without end, since one version was frozen."""

    def __init__(self) -> None:
        self._frozen = ""
        self._open: list[tuple[float, float, float]] = []
        self._open_clicks = 0
        self._spans: SpanTable = np.zeros((0, 5))
        self._known: dict[int, Worth] = {}

    def add(self, frozen: str, z_live: float, z_frozen: float, label: int) -> None:
        """Add a row that both scored; another frozen version is another comparison, which begins anew.

        Args:
            frozen: Name of the frozen version.
            z_live: Logit of the live one, finite.
            z_frozen: Logit of the frozen one, finite.
            label: 1 clicked, 0 not.
        """
        if frozen != self._frozen:
            self._begin(frozen, np.zeros((0, 5)))
        self._open.append((z_live, z_frozen, float(label)))
        self._open_clicks += label
        fewest = min(self._open_clicks, len(self._open) - self._open_clicks)
        if len(self._open) >= (MIN_ROWS if fewest >= MIN_OF_A_CLASS else MAX_SPAN_ROWS):
            self._close()

    def over_all(self) -> Worth:
        """Return what retraining was worth over all spans."""
        return self._worth(MAX_SPANS)

    def over_recent(self) -> Worth:
        """Return the same over the last spans."""
        return self._worth(RECENT_SPANS)

    def snapshot(self) -> WorthSnapshot:
        """Return what `restore` takes."""
        return {
            "spans": self._spans.copy(),
            "open": np.array(self._open, dtype=np.float64).reshape(-1, 3),
            "frozen": np.array(self._frozen),
        }

    def restore(self, snapshot: WorthSnapshot) -> None:
        """Take over a comparison."""
        self._begin(str(snapshot["frozen"]), snapshot["spans"].reshape(-1, 5))
        for z_live, z_frozen, label in snapshot["open"].tolist():
            self.add(self._frozen, z_live, z_frozen, int(label))

    def _begin(self, frozen: str, spans: SpanTable) -> None:
        self._frozen, self._spans = frozen, spans
        self._open, self._open_clicks = [], 0
        self._known.clear()

    def _close(self) -> None:
        z_live, z_frozen, label = np.array(self._open).T
        self._spans = np.vstack([self._spans, _span(z_live, z_frozen, label)])
        if len(self._spans) > MAX_SPANS:
            half = MAX_SPANS // 2
            self._spans = np.vstack([_merged(self._spans[:half]), self._spans[half:]])
        self._open, self._open_clicks = [], 0
        self._known.clear()

    def _worth(self, num_spans: int) -> Worth:
        if num_spans not in self._known:
            self._known[num_spans] = worth_of([self._spans[-num_spans:]])
        return self._known[num_spans]


def _span(z_live: Doubles, z_frozen: Doubles, label: npt.NDArray[np.generic]) -> tuple[float, ...]:
    found = compared(z_live, z_frozen, label.astype(np.float64))
    apart = row_log_loss(z_live, label) - row_log_loss(z_frozen, label)
    return found.num_rows, found.num_pairs, found.auc, found.log_loss, float(np.mean(apart**2))


def _merged(spans: SpanTable) -> SpanTable:
    """Return each two neighbours as one span."""
    two = spans.reshape(-1, 2, 5)
    rows, pairs = two[..., 0], two[..., 1]
    weights = (pairs, rows, rows)
    means = [(two[..., 2 + at] * weight).sum(1) / np.maximum(weight.sum(1), 1.0) for at, weight in enumerate(weights)]
    return np.stack([rows.sum(1), pairs.sum(1), *means], axis=1)


def _differences(value: Doubles, weight: Doubles) -> Differences:
    counted = weight > 0
    return Differences(value[counted], weight[counted])


def _effective_rows(table: SpanTable, found: Interval) -> float:
    """Return how many independent rows would have an interval as wide; at most as many as there are."""
    rows = table[:, 0]
    mean, mean_square = (float(np.average(table[:, at], weights=rows)) for at in (3, 4))
    error = (found.high - found.low) / (2 * _NORMAL_95)
    return min(float(rows.sum()), (mean_square - mean**2) / error**2) if error > 0 else float(rows.sum())
