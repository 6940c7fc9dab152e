"""The sliding window of progressive validation: the last rows, their labels and what each role said of them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypedDict, get_args

import numpy as np
import numpy.typing as npt

from scorer.auc import auc, delong_interval, within_group_auc
from scorer.progressive import calibration, log_loss, normalized_entropy
from stream.events import WeightedExample
from stream.hashing import hash64

Role = Literal["live", "frozen", "control"]
ROLES: tuple[Role, ...] = get_args(Role)

Doubles = npt.NDArray[np.float64]


class WindowSnapshot(TypedDict):
    """The rows, oldest first.

    Attributes:
        label: 1 clicked, 0 not, int8 [N].
        query: Hash of the query, 0 for a row without one, uint64 [N].
        z: Logit by role in the order of ROLES, NaN where the role did not score the row, float64 [N, R].
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
        num_common: Rows that every role scored; the roles are compared on these.
        click_rate: Over all rows; NaN without rows.
        roles: Quality by role on the common rows; empty when they are too few or hold one class only.
        live_on_all: Quality of the live role on all rows; None when they are too few or hold one class only.
    """

    num_rows: int
    num_common: int
    click_rate: float
    roles: dict[Role, Quality]
    live_on_all: Quality | None


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
        self._z = np.zeros((0, len(ROLES)))

    def __len__(self) -> int:
        return len(self._label)

    def add(self, examples: Sequence[WeightedExample]) -> None:
        """Add rows in their order, their live scores finite; the oldest leave."""
        label = np.array([example.labeled.label for example in examples], dtype=np.int8)
        query = np.array([_query_hash(example) for example in examples], dtype=np.uint64)
        z = np.array([_logits(example) for example in examples], dtype=np.float64).reshape(-1, len(ROLES))
        self._keep(
            np.concatenate([self._label, label]),
            np.concatenate([self._query, query]),
            np.concatenate([self._z, z]),
        )

    def judge(self) -> WindowQuality:
        """Return what the window says now. Roles that scored nothing in it are left out."""
        present = np.asarray((~np.isnan(self._z)).any(axis=0), dtype=np.bool_)
        common = np.asarray(~np.isnan(self._z[:, present]).any(axis=1), dtype=np.bool_)
        roles = {}
        if self._is_enough(common):
            roles = {role: self._quality(index, common) for index, role in enumerate(ROLES) if present[index]}
        everything = np.ones(len(self), dtype=bool)
        return WindowQuality(
            num_rows=len(self),
            num_common=int(common.sum()) if present.any() else 0,
            click_rate=float(self._label.mean()) if len(self) else math.nan,
            roles=roles,
            live_on_all=self._quality(ROLES.index("live"), everything) if self._is_enough(everything) else None,
        )

    def snapshot(self) -> WindowSnapshot:
        """Return the rows as arrays that `restore` takes."""
        return {"label": self._label.copy(), "query": self._query.copy(), "z": self._z.copy()}

    @classmethod
    def restore(cls, snapshot: WindowSnapshot, size: int, min_rows: int) -> "ScoreWindow":
        """Return the window a snapshot was taken of; a smaller size keeps its newest rows."""
        window = cls(size, min_rows)
        window._keep(snapshot["label"], snapshot["query"], snapshot["z"])
        return window

    def _keep(self, label: npt.NDArray[np.int8], query: npt.NDArray[np.uint64], z: Doubles) -> None:
        self._label, self._query, self._z = label[-self._size :], query[-self._size :], z[-self._size :]

    def _is_enough(self, rows: npt.NDArray[np.bool_]) -> bool:
        label = self._label[rows]
        return len(label) >= self._min_rows and 0 < int(label.sum()) < len(label)

    def _quality(self, role: int, rows: npt.NDArray[np.bool_]) -> Quality:
        z, label, query = self._z[rows, role], self._label[rows], self._query[rows]
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
    scores = {"live": example.live, "frozen": example.frozen, "control": example.control}
    return tuple(math.nan if (score := scores[role]) is None else score.z for role in ROLES)
