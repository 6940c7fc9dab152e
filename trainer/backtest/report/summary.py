"""The summary: what a backtest says about each arm, over all of its seeds."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from scorer.measures.auc import Interval, auc
from scorer.measures.differences import (
    CONFIDENCE,
    DRAWS,
    MIN_SEEDS,
    MIN_SPANS,
    Differences,
    averaged,
    block_interval,
    seed_interval,
)
from scorer.measures.log_loss import calibration, normalized_entropy
from scorer.measures.spans import MIN_OF_A_CLASS, MIN_ROWS, cut_spans, span_auc
from scorer.measures.worth import span_table, worth_of
from trainer.backtest.runs.arms import Arm
from trainer.backtest.runs.results import Run
from trainer.backtest.runs.rounds import Round
from trainer.backtest.runs.streams import Stream

_DEFINITIONS = {
    "auc": f"progressive: mean over spans of at least {MIN_ROWS} rows with {MIN_OF_A_CLASS} of each class, weighted by "
    "pairs, each row scored when its label is due, before anything learned from it; mean over seeds",
    "auc_served": "as auc, of the score each row was shown with: an attribution window before its label is due, by the "
    "version that served then",
    "auc_pooled": "over all rows at once, which compares scores of different versions; mean over seeds",
    "auc_frozen": "as auc, of version 1, which never learns on",
    "worth": "what retraining is worth: live minus frozen over the same spans, in AUC and in log loss (nats, mean over "
    "rows); effective_rows: independent rows that would tell the latter as well",
    "auc_limit": "as auc, of the true click probability; null on a recorded log",
    "normalized_entropy": "log loss over the entropy of the click rate, all rows; mean over seeds",
    "normalized_entropy_served": "the same of the scores the rows were shown with",
    "calibration": "mean score over click rate, all rows; mean over seeds",
    "forward_rows": "rows of forward passes alone, scored live and judged by the gate, per seed; the frozen version's "
    "serve the comparison and are not counted",
    "backward_rows": "rows learned, per seed",
    "gate_decisions": "updates by what was decided before them",
    "weighed_by": "updates by who weighed their last row: uniform where a strategy fell back to it",
}


@dataclass(frozen=True)
class _Method:
    """How the intervals of a backtest are made."""

    name: str
    by_seeds: bool
    is_recorded: bool

    def interval(self, streams: Sequence[Differences]) -> Interval | str:
        """Return the interval, or why there is none."""
        if self.by_seeds:
            return seed_interval(streams)
        num_spans = min(len(stream.value) for stream in streams)
        if num_spans < MIN_SPANS:
            return f"{num_spans} spans are too few to resample, {MIN_SPANS} are needed: take more rows"
        return block_interval([averaged(streams)] if self.is_recorded else streams)


def summarise(stream: Stream, arms: Sequence[Arm], num_seeds: int, runs: Sequence[Run]) -> dict[str, Any]:
    """Return the content of summary.json.

    Args:
        stream: What was played.
        arms: What was compared.
        num_seeds: Seeds of each arm.
        runs: All runs.
    """
    by_seeds = not stream.is_recorded and num_seeds >= MIN_SEEDS
    method = _Method(
        "bootstrap over seeds" if by_seeds else "moving-block bootstrap over spans", by_seeds, stream.is_recorded
    )
    runs_of = {arm.name: [run for run in runs if run.arm == arm.name] for arm in arms}
    return {
        "stream": stream.facts(),
        "rows_scored": len(runs[0].predictions),
        "click_rate": _number(np.mean([run.predictions.label.mean() for run in runs])),
        "interval": {"method": method.name, "confidence": CONFIDENCE, "draws": DRAWS},
        "arms": [
            _arm_summary(arm, runs_of[arm.name])
            | _compared(arm, arms, runs_of, method)
            | {"worth": _worth(runs_of[arm.name], method)}
            for arm in arms
        ],
        "definitions": _DEFINITIONS,
    }


def _arm_summary(arm: Arm, runs: Sequence[Run]) -> dict[str, Any]:
    by_seed = [_run_summary(run) for run in runs]
    means = {
        name: _mean([run[name] for run in by_seed])
        for name in by_seed[0]
        if name not in {"seed", "gate_decisions", "weighed_by"}
    }
    return {
        "arm": arm.name,
        "strategy": arm.scorer.strategy,
        "budget": arm.budget,
        "gate": "off" if arm.gate is None else "on",
        "seeds": len(runs),
        **means,
        "by_seed": by_seed,
    }


def _run_summary(run: Run) -> dict[str, Any]:
    predictions, rounds = run.predictions, run.rounds
    label, live = predictions.label, predictions.z_live
    spans = cut_spans(label)
    return {
        "seed": run.seed,
        "auc": _number(span_auc(live, label, spans).mean),
        "auc_pooled": _number(auc(live, label)),
        "normalized_entropy": _number(normalized_entropy(live, label)),
        "calibration": _number(calibration(live, label)),
        "auc_served": _number(span_auc(predictions.z_served, label, spans).mean),
        "normalized_entropy_served": _number(_entropy(predictions.z_served, label)),
        "auc_frozen": _number(span_auc(predictions.z_frozen, label, spans).mean),
        "normalized_entropy_frozen": _number(_entropy(predictions.z_frozen, label)),
        "auc_limit": _number(span_auc(predictions.click_probability, label, spans).mean),
        "forward_rows": sum(one.forward_rows for one in rounds),
        "backward_rows": sum(one.backward_rows for one in rounds),
        "discarded_rows": sum(one.discarded_rows for one in rounds),
        "effective_sample_share": _effective_share(rounds),
        "gate_decisions": dict(sorted(Counter(_decision(one) for one in rounds).items())),
        "weighed_by": dict(sorted(Counter(one.strategy for one in rounds).items())),
    }


def _compared(arm: Arm, arms: Sequence[Arm], runs_of: Mapping[str, Sequence[Run]], method: _Method) -> dict[str, Any]:
    uniform = _uniform_arm(arm, arms)
    found = uniform if isinstance(uniform, str) else _difference(runs_of[arm.name], runs_of[uniform.name], method)
    if isinstance(found, str):
        return {"compared_with": None, "difference_to_uniform": None, "difference_reason": found}
    return {
        "compared_with": uniform.name if isinstance(uniform, Arm) else None,
        "difference_to_uniform": _plain(found),
        "difference_reason": None,
    }


def _worth(runs: Sequence[Run], method: _Method) -> dict[str, Any]:
    def interval(streams: Sequence[Differences]) -> Interval | None:
        found = method.interval(streams)
        return found if isinstance(found, Interval) else None

    tables = [span_table(run.predictions.z_live, run.predictions.z_frozen, run.predictions.label) for run in runs]
    found = worth_of(tables, interval)
    return {
        "auc": _plain(found.auc),
        "log_loss": _plain(found.log_loss),
        "rows": found.num_rows,
        "effective_rows": _number(found.effective_rows),
        "sentence": found.sentence,
    }


def _uniform_arm(arm: Arm, arms: Sequence[Arm]) -> Arm | str:
    """Return the uniform arm that an arm is compared with, or why there is none."""
    uniform = [other for other in arms if other.scorer.strategy == "uniform"]
    if arm in uniform:
        return "it is a uniform arm itself"
    if not uniform:
        return "there is no arm with the strategy uniform"
    same_budget = [other for other in uniform if math.isclose(other.budget, arm.budget)]
    same = [other for other in same_budget if (other.trainer, other.model) == (arm.trainer, arm.model)]
    for candidates in (same, same_budget, uniform):
        if len(candidates) == 1:
            return candidates[0]
    return f"several uniform arms could be meant: {', '.join(other.name for other in uniform)}"


def _difference(runs: Sequence[Run], others: Sequence[Run], method: _Method) -> Interval | str:
    streams = []
    for run, other in zip(runs, others, strict=True):
        mine, theirs = run.predictions, other.predictions
        if not np.array_equal(mine.index, theirs.index):
            return f"arm {run.arm} and arm {other.arm} took different rows for first copies"
        spans = cut_spans(mine.label)
        a, b = span_auc(mine.z_live, mine.label, spans), span_auc(theirs.z_live, mine.label, spans)
        counted = a.weight > 0
        streams.append(Differences((a.auc - b.auc)[counted], a.weight[counted]))
    return method.interval(streams)


def _effective_share(rounds: Sequence[Round]) -> float | None:
    learned = sum(one.backward_rows for one in rounds)
    return _number(sum(one.effective_sample_size for one in rounds) / learned) if learned else None


def _entropy(z: npt.NDArray[np.float64], label: npt.NDArray[np.int8]) -> float:
    scored = ~np.isnan(z)
    return normalized_entropy(z[scored], label[scored])


def _decision(one: Round) -> str:
    return f"{one.gate_decision}: {one.gate_reason}" if one.gate_decision else "none"


def _plain(interval: Interval | None) -> dict[str, float | None] | None:
    return {name: _number(value) for name, value in asdict(interval).items()} if interval else None


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    if not known:
        return None
    mean = float(np.mean(known))
    # Rows of a run are whole, and so they stay where the seeds agree.
    return int(mean) if isinstance(known[0], int) and mean.is_integer() else _number(mean)


def _number(value: float | np.floating[npt.NBitBase]) -> float | None:
    return float(value) if np.isfinite(value) else None
