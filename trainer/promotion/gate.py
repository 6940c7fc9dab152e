"""The gate: may the weights just judged serve? They are held only on evidence of harm, and at once on proof of gain.

Everything here is defined for any rows with finite logits: no click, nothing but clicks, scores that are all 0 or all
1. A gate that raised would raise again whenever its plan is repeated.
"""

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
from msgspec import UNSET

from scorer.measures.auc import Interval, auc, auc_difference_interval
from scorer.measures.log_loss import calibration, log_loss, row_log_loss, sigmoid
from stream.events import GateResult
from trainer.settings import GateSettings

Doubles = npt.NDArray[np.float64]
HoldReason = Literal[
    "auc_harm",
    "log_loss_harm",
    "calibration",
    "worse_than_frozen",
    "non_finite",
    "golden_query",
    "judging_failed",
    "unpublishable",
]
"""worse_than_frozen: slow harm, of all that served lately; judging_failed: an error while judging; unpublishable: the
registry refused the version."""
HOLD_REASONS: tuple[HoldReason, ...] = get_args(HoldReason)

POWER = 0.8
"""Probability with which a harm as large as the detectable one is held."""

SURE_CLICKS = 10
"""Clicks, and rows without one, that proof of gain takes at least: the intervals are of large samples."""

_Z_95 = NormalDist().inv_cdf(0.975)
_Z_POWER = NormalDist().inv_cdf(POWER)
_SMALLEST_SUM = 1e-300
"""Floor of a sum of scores, which is 0 where every one of them underflows."""

_FARTHEST = 1e30
"""Bound of the distance of two logits, so that its square is a number."""


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


def first_judgement(settings: GateSettings) -> str:
    """Return when a user may expect the gate to judge an update, and how to see it sooner."""
    return (
        f"when the rows after an update hold {settings.min_clicks} clicks, or after {settings.max_wait_seconds:g} s of "
        "records; for a trial set MILLSTREAM_GATE_MIN_CLICKS or MILLSTREAM_GATE_MAX_WAIT_SECONDS"
    )


def judge(evidence: Evidence, settings: GateSettings) -> GateResult | None:
    """Return the decision, or None while the pool holds too few clicks and the time limit has not passed.

    Only proof of gain is not made to wait: after a turn of tastes the live version does harm with every row it scores.

    Ranking is judged by AUC once there are enough clicks; the scores themselves, which are served as probabilities, by
    log loss and calibration whenever a decision is due. The newest plan's rows may also hold alone, so that weights
    judged earlier cannot vouch for those that would serve. Asking for proof of gain instead would hold most good
    updates: consecutive versions differ by less than a plan's rows can show.
    """
    pooled = evidence.pooled
    if not np.isfinite(pooled.z_candidate).all():
        return _result("hold", "non_finite", pooled)
    enough = pooled.num_clicks >= settings.min_clicks
    if not enough and evidence.until_ms - evidence.since_ms < settings.max_wait_seconds * 1000:
        return _result("promote", "sure_gain", pooled) if _is_surely_better(evidence, settings) else None
    difference = _auc_difference(pooled)
    detectable = detectable_auc_harm(difference, settings) if enough else math.nan
    reason = _harm(evidence, difference, settings, by_auc=enough)
    return _result("hold" if reason else "promote", reason or "no_harm", pooled, difference, detectable)


def held(reason: HoldReason, evidence: Evidence | None) -> GateResult:
    """Return a hold for a reason that rows cannot show: weights that are not finite, or a failed golden query."""
    return _result("hold", reason, evidence.pooled) if evidence else GateResult(decision="hold", reason=reason)


def log_loss_difference(rows: JudgedRows) -> Interval:
    """Return mean log loss of candidate minus live on the same rows, in nats, with its paired 95 % interval.

    Its width is that of the rows' own scatter or, where that is more, of the clicks that the candidate expects: among
    few rows without a click every loss is small and alike, and a truer, higher score would pass for surely worse.
    """
    if rows.num_rows < 2:
        return Interval(math.nan, math.nan, math.nan)
    difference_N = row_log_loss(rows.z_candidate, rows.label) - row_log_loss(rows.z_live, rows.label)
    mean = float(difference_N.mean())
    scatter = max(float(difference_N.var(ddof=1)), _scatter_of_expected_clicks(rows))
    half = _Z_95 * math.sqrt(scatter / rows.num_rows)
    return Interval(mean, mean - half, mean + half)


def tolerated_log_loss_harm(rows: JudgedRows, settings: GateSettings) -> float:
    """Return by how many nats the candidate's mean log loss may surely exceed the live version's.

    A share of the click rate's entropy, so that it means the same at a rate of 1 % as at 50 %. The rate is the observed
    one or, where that has the smaller entropy, what the live version promises: rows without any click, of which there
    were few, would otherwise tolerate nothing.
    """
    observed = float(rows.label.mean())
    promised = float(sigmoid(rows.z_live).mean())
    return settings.max_log_loss_harm * max(_entropy(observed), _entropy(promised))


def detectable_auc_harm(difference: Interval, settings: GateSettings) -> float:
    """Return the smallest loss of AUC that would have been held with probability `POWER` on these rows.

    An update is held when the upper end of the interval lies below -max_auc_harm. With standard error s, a true loss of
    max_auc_harm + (z_0.975 + z_POWER) s does that with probability POWER; s is the interval's half-width / z_0.975.
    NaN where the rows give no interval.
    """
    standard_error = (difference.high - difference.low) / 2 / _Z_95
    return settings.max_auc_harm + (_Z_95 + _Z_POWER) * standard_error


def is_miscalibrated(rows: JudgedRows, limit: float) -> bool:
    """Return whether mean score / CTR is surely out of bounds, and further off than the live version's.

    Surely: beyond the 95 % interval of the click count (Poisson). Further off than live: when the click rate itself
    moves, both are off, and holding the better one would keep the worse one serving.
    """
    num_clicks = max(0.5, rows.label.sum())
    off, off_live = (
        math.log(max(_SMALLEST_SUM, float(sigmoid(z).sum())) / num_clicks) for z in (rows.z_candidate, rows.z_live)
    )
    doubt = _Z_95 / math.sqrt(num_clicks)
    return abs(off) - doubt > math.log(limit) and abs(off) > abs(off_live)


def _harm(
    evidence: Evidence, difference: Interval, settings: GateSettings, *, by_auc: bool
) -> Literal["auc_harm", "log_loss_harm", "calibration"] | None:
    pooled, newest = evidence.pooled, evidence.newest
    if by_auc and any(one.high < -settings.max_auc_harm for one in (difference, _auc_difference(newest))):
        return "auc_harm"
    if is_miscalibrated(pooled, settings.max_calibration):
        return "calibration"
    if pooled.num_rows and any(
        log_loss_difference(rows).low > tolerated_log_loss_harm(pooled, settings) for rows in (pooled, newest)
    ):
        return "log_loss_harm"
    return None


def _is_surely_better(evidence: Evidence, settings: GateSettings) -> bool:
    """Return whether the newest rows, which judged the very weights that would serve, prove gain in both measures."""
    newest = evidence.newest
    return (
        min(newest.num_clicks, newest.num_rows - newest.num_clicks) >= SURE_CLICKS
        and _auc_difference(newest).low > 0
        and log_loss_difference(newest).high < 0
        and _harm(evidence, _auc_difference(evidence.pooled), settings, by_auc=True) is None
    )


def _scatter_of_expected_clicks(rows: JudgedRows) -> float:
    """Return the mean variance of a row's difference in log loss if the candidate's scores were the truth."""
    score_N = sigmoid(rows.z_candidate)
    apart_N = np.clip(rows.z_candidate - rows.z_live, -_FARTHEST, _FARTHEST)
    return float((score_N * (1 - score_N) * apart_N**2).mean())


def _auc_difference(rows: JudgedRows) -> Interval:
    return auc_difference_interval(rows.z_candidate, rows.z_live, rows.label)


def _entropy(rate: float) -> float:
    return -sum(share * math.log(share) for share in (rate, 1 - rate) if share > 0)


def _result(
    decision: Literal["promote", "hold"],
    reason: str,
    rows: JudgedRows,
    difference: Interval | None = None,
    detectable: float = math.nan,
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
        auc_detectable_harm=UNSET if math.isnan(detectable) else detectable,
        log_loss_candidate=_number(log_loss(rows.z_candidate, rows.label)) if judged else None,
        log_loss_live=_number(log_loss(rows.z_live, rows.label)) if judged else None,
        calibration_candidate=_number(calibration(rows.z_candidate, rows.label)) if judged else None,
    )


def _number(value: float) -> float | None:
    # JSON has no NaN.
    return value if math.isfinite(value) else None
