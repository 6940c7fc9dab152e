"""A round: what is recorded about one plan of one run."""

import math
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from scorer.importance.effective_sample_size import effective_sample_size
from scorer.importance.gradient_norm import gradient_norm
from scorer.importance.stability import Stability
from scorer.measures.auc import auc
from scorer.measures.log_loss import calibration, normalized_entropy
from stream.events import WeightedExample
from trainer.backtest.runs.offline_trainer import Decision
from trainer.backtest.runs.predictions import Predictions
from trainer.line import LearnReport
from trainer.plans.plan_rows import PlanRows

Doubles = npt.NDArray[np.float64]


class Round(msgspec.Struct, frozen=True, kw_only=True):
    """One plan: scored, judged, learned. Null is what is not defined or not known.

    Attributes:
        round: Number of the plan, from 1.
        first_row: Place of its first impression in the stream.
        rows: First copies of impressions in it; the metrics are over these.
        clicks: How many of them were clicked.
        live_version: Number of the version that scored them.
        auc_live: AUC of the live version within the plan.
        auc_frozen: The same of the frozen version.
        auc_limit: The same of the true click probability.
        normalized_entropy_live: Log loss over the entropy of the plan's click rate.
        normalized_entropy_frozen: The same of the frozen version.
        calibration_live: Mean score over click rate.
        calibration_frozen: The same of the frozen version.
        variance_ratio: 1 + CV^2 of |p - y| sqrt(h^2 + 1): what importance sampling can save at most.
        mean_inclusion_probability: Expected share of the rows that are learned.
        strategy: Who weighed the last row; `uniform` where a strategy fell back.
        forward_rows: Rows of forward passes alone: scored live, judged, and looked at by the ladder. The frozen
            version's are not counted, it serves the comparison only.
        backward_rows: Rows that were learned, replayed ones included.
        effective_sample_size: (sum w)^2 / sum w^2 of the learned rows.
        weight_p05: Quantile of the learned rows' importance weights.
        weight_p50: The same.
        weight_p95: The same.
        weight_max: Their largest.
        mean_loss: Mean training loss.
        gate_decision: What was decided about the weights before this plan was learned: promote or hold; null while the
            evidence does not suffice and when nothing had been learned since the champion.
        gate_reason: Why.
        discarded_rows: Learned rows that restoring the champion undid.
        share_anchor: How much of what would serve is the frozen version, by the ladder; null in rounds of a release
            without it.
        share_steady: The same of the average of the weights.
        share_newest: The same of the newest weights.
        stability_spearman: Rank correlation of the importance of fixed rows with the last time it was looked at; null,
            like the other stabilities, in rounds without a look.
        stability_spearman_clicked: The same among clicked rows.
        stability_spearman_not_clicked: The same among the others.
        stability_top_overlap: Share of the most important tenth that both looks agree on.
        stability_total_variation: Share of the weight that moved to other rows.
    """

    round: int
    first_row: int
    rows: int
    clicks: int
    live_version: int
    auc_live: float | None
    auc_frozen: float | None
    auc_limit: float | None
    normalized_entropy_live: float | None
    normalized_entropy_frozen: float | None
    calibration_live: float | None
    calibration_frozen: float | None
    variance_ratio: float | None
    mean_inclusion_probability: float | None
    strategy: str
    forward_rows: int
    backward_rows: int
    effective_sample_size: float
    weight_p05: float | None
    weight_p50: float | None
    weight_p95: float | None
    weight_max: float | None
    mean_loss: float | None
    gate_decision: str | None
    gate_reason: str | None
    discarded_rows: int
    share_anchor: float | None = None
    share_steady: float | None = None
    share_newest: float | None = None
    stability_spearman: float | None = None
    stability_spearman_clicked: float | None = None
    stability_spearman_not_clicked: float | None = None
    stability_top_overlap: float | None = None
    stability_total_variation: float | None = None


_TYPES: dict[Any, pa.DataType] = {int: pa.int64(), float: pa.float64(), str: pa.string()}


def _column(field: msgspec.structs.FieldInfo) -> "pa.Field[Any]":
    nullable = field.type not in _TYPES
    kind = next(kind for kind in _TYPES if kind == field.type or kind in getattr(field.type, "__args__", ()))
    return pa.field(field.name, _TYPES[kind], nullable=nullable)


_FIELDS: list["pa.Field[Any]"] = [_column(field) for field in msgspec.structs.fields(Round)]
SCHEMA = pa.schema(_FIELDS)
"""Columns of a run's rounds."""

_RUN: list["pa.Field[Any]"] = [
    pa.field("arm", pa.string(), nullable=False),
    pa.field("seed", pa.int64(), nullable=False),
]
ALL_SCHEMA = pa.schema([*_RUN, *_FIELDS])
"""Columns of the rounds of all runs."""


def round_of(
    number: int,
    predictions: Predictions,
    rows: PlanRows,
    report: LearnReport,
    decision: Decision,
    *,
    live_version: int,
    stability: Stability | None,
) -> Round:
    """Return what one plan showed.

    Args:
        number: Number of the plan.
        predictions: Its first copies.
        rows: The same, as the trainer told them apart.
        report: What learning them did.
        decision: What became of the weights before.
        live_version: Number of the version that scored them.
        stability: Of the importance of fixed rows; None without a look at them.
    """
    label, live, frozen = predictions.label, predictions.z_live, predictions.z_frozen
    scored = ~np.isnan(frozen)
    truth = predictions.click_probability
    weight = np.array(report.weights, dtype=np.float64)
    inclusion = [example.inclusion_probability for example in rows.first_copies]
    return Round(
        round=number,
        first_row=int(predictions.index[0]) if len(predictions) else 0,
        rows=len(predictions),
        clicks=int(label.sum()),
        live_version=live_version,
        auc_limit=None if np.isnan(truth).any() else _number(auc(truth, label)),
        variance_ratio=_number(_variance_ratio(rows.first_copies)) if rows.first_copies else None,
        mean_inclusion_probability=_number(float(np.mean(inclusion))) if inclusion else None,
        strategy=rows.first_copies[-1].strategy if rows.first_copies else "",
        forward_rows=len(rows.first_copies) * (2 if decision.judged else 1) + decision.num_looked,
        backward_rows=len(weight),
        effective_sample_size=effective_sample_size(weight),
        mean_loss=_number(report.update.mean_loss),
        gate_decision=decision.result.decision if decision.result else None,
        gate_reason=decision.result.reason if decision.result else None,
        discarded_rows=decision.discarded_rows,
        **_quality_columns("live", live, label),
        **_quality_columns("frozen", frozen[scored], label[scored]),
        **_weight_columns(weight),
        **{f"share_{step}": share for step, share in report.shares.items()},
        **_stability_columns(stability),
    )


def rounds_table(rounds: Sequence[Round]) -> pa.Table:
    """Return the rounds of a run as a table."""
    return pa.Table.from_pylist([msgspec.structs.asdict(one) for one in rounds], SCHEMA)


def read_rounds(path: Path) -> list[Round]:
    """Return the rounds of a run from the Parquet file of its table."""
    return [Round(**row) for row in pq.read_table(path, schema=SCHEMA).to_pylist()]


def all_rounds_table(runs: Sequence[tuple[str, int, Sequence[Round]]]) -> pa.Table:
    """Return the rounds of all runs as one table.

    Args:
        runs: Arm, seed and rounds of each.
    """
    rows = [{"arm": arm, "seed": seed} | msgspec.structs.asdict(one) for arm, seed, rounds in runs for one in rounds]
    return pa.Table.from_pylist(rows, ALL_SCHEMA)


def _variance_ratio(examples: Sequence[WeightedExample]) -> float:
    z, label, hidden_norm = (
        np.array(values, dtype=np.float64)
        for values in zip(*((one.live.z, one.labeled.label, one.hidden_norm) for one in examples), strict=True)
    )
    score = gradient_norm(z, label, hidden_norm)
    mean = float(score.mean())
    return float((score**2).mean()) / mean**2 if mean else math.nan


def _quality_columns(role: str, z: Doubles, label: npt.NDArray[np.int8]) -> dict[str, float | None]:
    measures = {"auc": auc, "normalized_entropy": normalized_entropy, "calibration": calibration}
    return {f"{name}_{role}": _number(measure(z, label)) for name, measure in measures.items()}


def _weight_columns(weight: Doubles) -> dict[str, float | None]:
    quantiles = np.quantile(weight, (0.05, 0.5, 0.95, 1.0)) if len(weight) else np.full(4, math.nan)
    names = ("weight_p05", "weight_p50", "weight_p95", "weight_max")
    return {name: _number(value) for name, value in zip(names, quantiles, strict=True)}


def _stability_columns(stability: Stability | None) -> dict[str, float | None]:
    if stability is None:
        return {}
    return {f"stability_{field.name}": _number(getattr(stability, field.name)) for field in fields(stability)}


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
