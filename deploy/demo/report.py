"""What a demo leaves behind: summary.json, auc.png and a readable summary, all computed from the topics."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib import pyplot as plt

from deploy.audit.report import AuditReport
from scorer.measures.auc import auc
from scorer.measures.log_loss import calibration, normalized_entropy
from scorer.measures.worth import Worth, span_table, worth_of

Floats = npt.NDArray[np.float64]

CURVE_WINDOW_ROWS = 2_000
"""Rows in one point of the AUC curves: about 300 clicks, so a standard error near 0.017."""


@dataclass(frozen=True, kw_only=True)
class ScoredRows:
    """The first copy of every weighted example, in event-time order; every array has one entry a row.

    Attributes:
        seconds: Event time since the first row, in seconds.
        label: 1 clicked, 0 not.
        live: Logit of the live version.
        frozen: Logit of the frozen version; NaN where it did not score the row.
        best: True click probability; NaN where nobody knows it (a recorded log).
        served: Logit of the score the row was shown with; NaN where it carries none (live and frozen score it when
            its label is due).
        version: Live version.
    """

    seconds: Floats
    label: npt.NDArray[np.int8]
    live: Floats
    frozen: Floats
    best: Floats
    served: Floats
    version: npt.NDArray[np.str_]

    def take(self, rows: npt.NDArray[np.bool_]) -> "ScoredRows":
        """Return the chosen rows."""
        return ScoredRows(**{name: values[rows] for name, values in vars(self).items()})


@dataclass(frozen=True, kw_only=True)
class RunFacts:
    """What the supervisor saw that no topic holds."""

    turn_seconds: float | None
    updates: int
    versions_promoted: int
    versions_held: int
    swaps: int
    freshness_seconds: Floats
    peak_memory_mib: float
    failed_processes: int


def summarise(rows: ScoredRows, audit: AuditReport, facts: RunFacts) -> dict[str, Any]:
    """Return the flat object of summary.json.

    All AUCs are over the rows that live and frozen scored when the labels were due. Where rows carry the score they
    were shown with, auc_served is over all that do, beside auc_live_on_served over the same.
    """
    judged = rows.take(~np.isnan(rows.frozen))
    duration = float(rows.seconds[-1] - rows.seconds[0]) if len(rows.seconds) > 1 else 0.0
    before = (
        judged.seconds < facts.turn_seconds if facts.turn_seconds is not None else np.zeros(len(judged.label), bool)
    )
    late = judged.seconds >= duration * 2 / 3
    counts = {
        "impressions": audit.impressions,
        "clicks": audit.clicks,
        "labeled": audit.labeled,
        "pending": audit.pending,
        "scored": audit.scored,
        "trained": audit.trained,
        "sampled_out": audit.sampled_out,
        "waiting": audit.waiting,
        "dead_lettered": audit.dead_lettered,
        "duplicates": audit.duplicates,
        "late_clicks": audit.late_clicks,
        "orphaned_clicks": audit.orphaned_clicks,
        "conservation_exact": audit.exact,
    }
    return {
        **counts,
        "updates": facts.updates,
        "versions_promoted": facts.versions_promoted,
        "versions_held": facts.versions_held,
        "swaps": facts.swaps,
        "ctr": _rounded(rows.label.mean()) if len(rows.label) else None,
        **_aucs(judged, ""),
        **_aucs(judged.take(before), "_before_turn"),
        **_aucs(judged.take(late), "_late"),
        **_served_aucs(rows),
        "normalized_entropy_live": _rounded(normalized_entropy(judged.live, judged.label)),
        "normalized_entropy_frozen": _rounded(normalized_entropy(judged.frozen, judged.label)),
        "calibration_live": _rounded(calibration(judged.live, judged.label)),
        **_worth(worth_of_retraining(rows)),
        "freshness_p50_seconds": _quantile(facts.freshness_seconds, 0.5),
        "freshness_p95_seconds": _quantile(facts.freshness_seconds, 0.95),
        "impressions_per_second": _rounded(len(rows.label) / duration, 1) if duration else None,
        "peak_memory_mib": _rounded(facts.peak_memory_mib, 0),
        "failed_processes": facts.failed_processes,
    }


def worth_of_retraining(rows: ScoredRows) -> Worth:
    """Return what retraining was worth on the rows that live and frozen version scored."""
    return worth_of([span_table(rows.live, rows.frozen, rows.label)])


def write_report(directory: Path, rows: ScoredRows, summary: dict[str, Any], turn_seconds: float | None) -> None:
    """Write summary.json and auc.png into the directory."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    _plot(rows, turn_seconds, directory / "auc.png")


def _aucs(rows: ScoredRows, suffix: str) -> dict[str, float | None]:
    return {
        f"auc_live{suffix}": _auc(rows.live, rows.label),
        f"auc_frozen{suffix}": _auc(rows.frozen, rows.label),
        f"auc_best_possible{suffix}": _auc(rows.best, rows.label),
    }


def _served_aucs(rows: ScoredRows) -> dict[str, float | None]:
    shown = rows.take(~np.isnan(rows.served))
    if not len(shown.label):
        return {}
    return {"auc_served": _auc(shown.served, shown.label), "auc_live_on_served": _auc(shown.live, shown.label)}


def _worth(worth: Worth) -> dict[str, float | None]:
    found: dict[str, float | None] = {}
    for name, interval in (("worth_auc", worth.auc), ("worth_log_loss", worth.log_loss)):
        for suffix, bound in (("", "estimate"), ("_low", "low"), ("_high", "high")):
            found[f"{name}{suffix}"] = _rounded(getattr(interval, bound)) if interval else None
    return found | {"worth_rows": worth.num_rows, "worth_effective_rows": _rounded(worth.effective_rows, 0)}


def _auc(score: Floats, label: npt.NDArray[np.int8]) -> float | None:
    """Return the AUC, or None where it is undefined: an unknown score or a single class."""
    if not len(label) or np.isnan(score).any() or label.min() == label.max():
        return None
    return _rounded(auc(score, label))


def _quantile(values: Floats, q: float) -> float | None:
    return _rounded(np.quantile(values, q), 2) if len(values) else None


def _rounded(value: float | None, digits: int = 4) -> float | None:
    return None if value is None or not np.isfinite(value) else round(float(value), digits)


def _plot(rows: ScoredRows, turn_seconds: float | None, path: Path) -> None:
    mpl.use("Agg")
    judged = rows.take(~np.isnan(rows.frozen))
    figure, axes = plt.subplots(figsize=(10, 5), layout="constrained")
    curves = [("live", judged.live, "C0"), ("frozen", judged.frozen, "C3"), ("best possible", judged.best, "0.55")]
    for name, score, colour in curves:
        seconds, values = _curve(judged.seconds, score, judged.label)
        if len(values):
            axes.plot(seconds, values, color=colour, label=name)
    for index, second in enumerate(_swap_seconds(rows)):
        axes.axvline(second, ymax=0.03, color="C2", linewidth=1, label="swap" if index == 0 else None)
    if turn_seconds is not None:
        axes.axvline(turn_seconds, color="k", linestyle="--", linewidth=1, label="all tastes turn")
    axes.axhline(0.5, color="0.8", linewidth=0.8)
    axes.set(xlabel="seconds of the stream", ylabel=f"AUC over the last {_window(len(judged.label))} rows")
    said = worth_of_retraining(rows).sentence
    axes.set_title(f"Each row is scored before anything learns from it: {said}", fontsize="medium")
    axes.legend(loc="lower left")
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _window(num_rows: int) -> int:
    return max(1, min(CURVE_WINDOW_ROWS, num_rows // 4))


def _curve(seconds: Floats, score: Floats, label: npt.NDArray[np.int8]) -> tuple[list[float], list[float]]:
    """Return times and AUCs of a window that slides over the rows, without the points where it is undefined."""
    window = _window(len(label))
    points = []
    for end in range(window, len(label) + 1, max(1, window // 10)):
        value = _auc(score[end - window : end], label[end - window : end])
        if value is not None:
            points.append((float(seconds[end - 1]), value))
    return [second for second, _ in points], [value for _, value in points]


def _swap_seconds(rows: ScoredRows) -> list[float]:
    """Return when each version but the first scored its first row."""
    _, first = np.unique(rows.version, return_index=True)
    return [float(rows.seconds[index]) for index in sorted(first)[1:]]
