"""The gate: may the weights just judged serve? They are held only on evidence of harm."""

import math
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from scorer.auc import Interval, auc, auc_difference_interval
from scorer.progressive import calibration, log_loss, row_log_loss, sigmoid
from stream.events import GateResult
from trainer.settings import GateSettings

Doubles = npt.NDArray[np.float64]
HoldReason = Literal["auc_harm", "log_loss_harm", "calibration", "non_finite", "golden_query"]
HOLD_REASONS: tuple[HoldReason, ...] = get_args(HoldReason)

_Z_95 = 1.96


@dataclass(frozen=True)
class JudgedRows:
    """Rows that the candidate had not learned, with what it and the live version said of them.

    Attributes:
        z_candidate: Logits of the weights under judgement, float64 [N].
        z_live: Logits of the version that was live when the rows were scored, float64 [N].
        label: 1 clicked, 0 not, float64 [N].
    """

    z_candidate: Doubles
    z_live: Doubles
    label: Doubles

    @property
    def num_rows(self) -> int:
        """How many rows."""
        return len(self.label)

    @property
    def num_clicks(self) -> int:
        """How many of them were clicked."""
        return int(self.label.sum())

    def joined(self, other: "JudgedRows") -> "JudgedRows":
        """Return these rows and the other ones."""
        return JudgedRows(
            np.concatenate([self.z_candidate, other.z_candidate]),
            np.concatenate([self.z_live, other.z_live]),
            np.concatenate([self.label, other.label]),
        )


@dataclass(frozen=True)
class Evidence:
    """What consecutive plans have shown since the last decision.

    Attributes:
        pooled: The rows of all of them; each row judged the weights that were current then.
        newest: The rows of the last plan alone: they judged the very weights that would serve.
        since_ms: Record time at which the pool began.
        until_ms: Record time of the newest record in it.
    """

    pooled: JudgedRows
    newest: JudgedRows
    since_ms: int
    until_ms: int

    def followed_by(self, rows: JudgedRows, newest_ms: int) -> "Evidence":
        """Return the evidence with one plan's rows more."""
        return Evidence(self.pooled.joined(rows), rows, self.since_ms, max(self.until_ms, newest_ms))


def first_evidence(rows: JudgedRows, newest_ms: int) -> Evidence:
    """Return a pool that begins with these rows."""
    return Evidence(rows, rows, newest_ms, newest_ms)


def judge(evidence: Evidence, settings: GateSettings) -> GateResult | None:
    """Return the decision, or None while the pool holds too few clicks and the time limit has not passed.

    Pooled AUC decides when there are enough clicks; the newest plan's rows may also hold alone, so that weights judged
    earlier cannot vouch for those that would serve. Asking for proof of gain instead would hold most good updates:
    consecutive versions differ by less than a plan's rows can show.
    """
    pooled = evidence.pooled
    if not np.isfinite(pooled.z_candidate).all():
        return _result("hold", "non_finite", pooled)
    enough = pooled.num_clicks >= settings.min_clicks
    if not enough and evidence.until_ms - evidence.since_ms < settings.max_wait_seconds * 1000:
        return None
    difference = auc_difference_interval(pooled.z_candidate, pooled.z_live, pooled.label)
    if enough and (_harms(difference, settings) or _harms(_difference(evidence.newest), settings)):
        return _result("hold", "auc_harm", pooled, difference)
    if not enough and log_loss_difference(pooled).low > settings.max_log_loss_harm:
        return _result("hold", "log_loss_harm", pooled, difference)
    if is_miscalibrated(pooled, settings.max_calibration):
        return _result("hold", "calibration", pooled, difference)
    return _result("promote", "no_harm", pooled, difference)


def held(reason: HoldReason, evidence: Evidence) -> GateResult:
    """Return a hold for a reason that rows cannot show: weights that are not finite, or a failed golden query."""
    return _result("hold", reason, evidence.pooled)


def log_loss_difference(rows: JudgedRows) -> Interval:
    """Return mean log loss of candidate minus live on the same rows, in nats, with its paired 95 % interval."""
    if rows.num_rows < 2:
        return Interval(math.nan, math.nan, math.nan)
    difference_N = row_log_loss(rows.z_candidate, rows.label) - row_log_loss(rows.z_live, rows.label)
    mean = float(difference_N.mean())
    half = _Z_95 * float(difference_N.std(ddof=1)) / math.sqrt(rows.num_rows)
    return Interval(mean, mean - half, mean + half)


def is_miscalibrated(rows: JudgedRows, limit: float) -> bool:
    """Return whether mean score / CTR is surely out of bounds, and further off than the live version's.

    Surely: beyond the 95 % interval of the click count (Poisson). Further off than live: when the click rate itself
    moves, both are off, and holding the better one would keep the worse one serving.
    """
    num_clicks = max(0.5, rows.label.sum())
    off = math.log(float(sigmoid(rows.z_candidate).sum()) / num_clicks)
    off_live = math.log(float(sigmoid(rows.z_live).sum()) / num_clicks)
    doubt = _Z_95 / math.sqrt(num_clicks)
    return abs(off) - doubt > math.log(limit) and abs(off) > abs(off_live)


def _difference(rows: JudgedRows) -> Interval:
    return auc_difference_interval(rows.z_candidate, rows.z_live, rows.label)


def _harms(difference: Interval, settings: GateSettings) -> bool:
    return difference.high < -settings.max_auc_harm


def _result(
    decision: Literal["promote", "hold"], reason: str, rows: JudgedRows, difference: Interval | None = None
) -> GateResult:
    judged = rows.num_rows > 0 and bool(np.isfinite(rows.z_candidate).all())
    return GateResult(
        decision=decision,
        reason=reason,
        num_rows=rows.num_rows,
        num_clicks=rows.num_clicks,
        auc_candidate=_number(auc(rows.z_candidate, rows.label)) if judged else None,
        auc_live=_number(auc(rows.z_live, rows.label)) if judged else None,
        auc_difference_low=_number(difference.low) if difference else None,
        auc_difference_high=_number(difference.high) if difference else None,
        log_loss_candidate=_number(log_loss(rows.z_candidate, rows.label)) if judged else None,
        log_loss_live=_number(log_loss(rows.z_live, rows.label)) if judged else None,
        calibration_candidate=_number(calibration(rows.z_candidate, rows.label)) if judged else None,
    )


def _number(value: float) -> float | None:
    # JSON has no NaN.
    return value if math.isfinite(value) else None
