"""The sliding window of progressive validation: the last rows, their labels and what each role said of them.

Two moments are judged. live, frozen and control scored a row when its label was due: a moment at which no version has
learned from it, but at which the live one may have learned from rows that were shown after it. served is the score it
was shown with, up to an attribution window earlier and often by an older version: what the shop's users got.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypedDict

import numpy as np
import numpy.typing as npt

from scorer.live.roles import ROLES
from scorer.measures.auc import auc, delong_interval, within_group_auc
from scorer.measures.log_loss import calibration, log_loss, normalized_entropy
from stream.events import RoleScore, WeightedExample
from stream.hashing import hash64

COLUMNS = (*ROLES[:3], "served", *ROLES[3:])
"""Who said what is judged. Snapshots are read by place, and older ones lack the last: a new role comes behind."""

MAX_SERVED_LOGIT = 36.0
"""Bound of a served score's logit: beyond it a double holds no probability but 0 and 1, whose logits are infinite."""

Doubles = npt.NDArray[np.float64]


class WindowSnapshot(TypedDict):
    """The rows, oldest first.

    Attributes:
        label: 1 clicked, 0 not, int8 [N].
        query: Hash of the query, 0 for a row without one, uint64 [N].
        z: Logit by role in the order of COLUMNS, NaN where the role did not score the row, float64 [N, R]; older
            snapshots lack the last roles.
    """

    label: npt.NDArray[np.int8]
    query: npt.NDArray[np.uint64]
    z: Doubles


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """How good one role's scores are; NaN where a measure is undefined.

    Attributes:
        auc: Area under the ROC curve.
        auc_low: Lower end of its 95 % confidence interval.
        auc_high: Upper end.
        auc_within_query: The same over pairs of one query.
        log_loss: Mean log loss in nats.
        normalized_entropy: Log loss over the entropy of the click rate.
        calibration: Mean score over click rate.
    """

    auc: float
    auc_low: float
    auc_high: float
    auc_within_query: float
    log_loss: float
    normalized_entropy: float
    calibration: float


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowQuality:
    """What the window says.

    Attributes:
        num_rows: Rows in it.
        num_common: Rows that live, frozen and control scored, as far as they exist; they are compared on these.
        num_served: Rows that carry the score they were shown with.
        click_rate: Over all rows; NaN without rows.
        roles: Quality by role, served on the rows that carry it and the others on the common rows; those are left out
            whose rows are too few or hold one class only.
        live_on_all: Quality of the live role on all rows; None when they are too few or hold one class only.
        live_on_served: The same on the rows that carry a served score, to compare it with.
    """

    num_rows: int
    num_common: int
    num_served: int
    click_rate: float
    roles: dict[str, Quality]
    live_on_all: Quality | None
    live_on_served: Quality | None


class ScoreWindow:
    """Keeps the last rows and judges them.

    Args:
        size: Rows kept.
        min_rows: Too few rows give no sample rather than a wrong one.
    """

    def __init__(self, size: int, min_rows: int) -> None:
        self._size = size
        self._min_rows = min_rows
        self._label = np.zeros(0, dtype=np.int8)
        self._query = np.zeros(0, dtype=np.uint64)
        self._z = np.zeros((0, len(COLUMNS)))

    def __len__(self) -> int:
        return len(self._label)

    def add(self, examples: Sequence[WeightedExample]) -> None:
        """Add rows in their order, their live scores finite; the oldest leave."""
        label = np.array([example.labeled.label for example in examples], dtype=np.int8)
        query = np.array([_query_hash(example) for example in examples], dtype=np.uint64)
        z = np.array([_logits(example) for example in examples], dtype=np.float64).reshape(-1, len(COLUMNS))
        self._keep(
            np.concatenate([self._label, label]),
            np.concatenate([self._query, query]),
            np.concatenate([self._z, z]),
        )

    def judge(self) -> WindowQuality:
        """Return what the window says now. Roles that scored nothing in it are left out."""
        scored = ~np.isnan(self._z)
        present = [role for role in ROLES if scored[:, COLUMNS.index(role)].any()]
        common = np.asarray(scored[:, [COLUMNS.index(role) for role in present]].all(axis=1), dtype=np.bool_)
        served = np.asarray(scored[:, COLUMNS.index("served")], dtype=np.bool_)
        asked = [(role, common) for role in present] + [("served", served)]
        found = {role: quality for role, rows in asked if (quality := self._quality(role, rows)) is not None}
        return WindowQuality(
            num_rows=len(self),
            num_common=int(common.sum()) if present else 0,
            num_served=int(served.sum()),
            click_rate=float(self._label.mean()) if len(self) else math.nan,
            roles=found,
            live_on_all=self._quality("live", np.ones(len(self), dtype=np.bool_)),
            live_on_served=self._quality("live", served),
        )

    def snapshot(self) -> WindowSnapshot:
        """Return the rows as arrays that `restore` takes."""
        return {"label": self._label.copy(), "query": self._query.copy(), "z": self._z.copy()}

    @classmethod
    def restore(cls, snapshot: WindowSnapshot, size: int, min_rows: int) -> "ScoreWindow":
        """Return the window a snapshot was taken of; a smaller size keeps its newest rows."""
        z = snapshot["z"]
        if z.ndim != 2 or not len(z) == len(snapshot["label"]) == len(snapshot["query"]):
            message = "labels, queries and scores of the window differ in length"
            raise ValueError(message)
        window = cls(size, min_rows)
        unknown = np.full((len(z), len(COLUMNS) - z.shape[1]), np.nan)
        window._keep(snapshot["label"], snapshot["query"], np.concatenate([z, unknown], axis=1))
        return window

    def _keep(self, label: npt.NDArray[np.int8], query: npt.NDArray[np.uint64], z: Doubles) -> None:
        self._label, self._query, self._z = label[-self._size :], query[-self._size :], z[-self._size :]

    def _is_enough(self, rows: npt.NDArray[np.bool_]) -> bool:
        label = self._label[rows]
        return len(label) >= self._min_rows and 0 < int(label.sum()) < len(label)

    def _quality(self, role: str, rows: npt.NDArray[np.bool_]) -> Quality | None:
        """Judge a role on rows that it scored; None when they are too few or hold one class only."""
        if not self._is_enough(rows):
            return None
        z, label, query = self._z[rows, COLUMNS.index(role)], self._label[rows], self._query[rows]
        asked = query != 0
        interval = delong_interval(z, label)
        return Quality(
            auc=auc(z, label),
            auc_low=interval.low,
            auc_high=interval.high,
            auc_within_query=within_group_auc(z[asked], label[asked], query[asked]),
            log_loss=log_loss(z, label),
            normalized_entropy=normalized_entropy(z, label),
            calibration=calibration(z, label),
        )


def _query_hash(example: WeightedExample) -> int:
    query = example.labeled.impression.query
    return hash64(query, "query") if query else 0


def _logits(example: WeightedExample) -> tuple[float, ...]:
    return tuple(
        served_logit(example) if column == "served" else _role_logit(getattr(example, column)) for column in COLUMNS
    )


def _role_logit(score: RoleScore | None) -> float:
    # One score that is not finite, from whoever wrote it, must not spoil every measure for a window.
    return score.z if score and math.isfinite(score.z) else math.nan


def served_logit(example: WeightedExample) -> float:
    """Return the logit of the score that the impression was shown with; NaN where there is none, or no probability."""
    served = example.labeled.impression.served
    if served is None or not 0.0 <= served.score <= 1.0:
        return math.nan
    with np.errstate(divide="ignore"):
        z = np.log(served.score) - np.log1p(-served.score)
    return float(np.clip(z, -MAX_SERVED_LOGIT, MAX_SERVED_LOGIT))
