"""The figures of a report, as SVG text that goes into the page as it is."""

import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from scorer.measures.auc import auc
from scorer.measures.log_loss import calibration, normalized_entropy
from trainer.backtest.report.curves import (
    Curve,
    round_curve,
    score_curve,
)
from trainer.backtest.runs.results import Run
from trainer.backtest.runs.rounds import Round

Runs = Mapping[str, Sequence[Run]]
"""Runs of each arm, by its name."""

_STYLE: Any = {
    # The same figure gives the same bytes: ids come from the salt instead of at random.
    "svg.hashsalt": "millstream",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "legend.frameon": False,
}
_NO_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}
_GREY = "0.45"
_NUM_COLOURS = 10


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A figure and what it shows."""

    title: str
    caption: str
    svg: Markup


def stream_charts(runs_of: Runs, turns: Sequence[int]) -> list[Chart]:
    """Return the figures of how the arms went along the stream; those without any value are left out.

    Args:
        runs_of: Runs of each arm.
        turns: Places in the stream where tastes turn.
    """
    charts = [
        _score_chart(
            runs_of,
            turns,
            auc,
            title="AUC",
            caption="Progressive: every row is scored before anything learns from it. Dashed: version 1, which never "
            "learns on.",
            level=0.5,
            limit="click_probability",
        ),
        _score_chart(
            runs_of,
            turns,
            normalized_entropy,
            title="Normalized entropy",
            caption="Log loss over the entropy of the click rate: below 1 is better than always saying the rate.",
        ),
        _score_chart(
            runs_of,
            turns,
            calibration,
            title="Calibration",
            caption="Mean score over click rate: 1 is right, above 1 promises too much.",
            level=1.0,
        ),
        *(_round_chart(runs_of, turns, lines, title=title, caption=caption) for title, caption, lines in _ROUND_CHARTS),
    ]
    return [chart for chart in charts if chart is not None]


def forest_chart(arms: Sequence[Mapping[str, Any]]) -> list[Chart]:
    """Return the figure of differences to uniform with their intervals; nothing when there is no difference.

    Args:
        arms: The arms of summary.json.
    """
    compared = [arm for arm in arms if arm["difference_to_uniform"] is not None][::-1]
    if not compared:
        return []
    with mpl.rc_context(_STYLE):
        figure, axes = _figure(height=max(3.2, 0.9 + 0.35 * len(compared)))
        for place, arm in enumerate(compared):
            found = arm["difference_to_uniform"]
            colour = _colour([one["arm"] for one in arms].index(arm["arm"]))
            axes.plot([found["low"], found["high"]], [place, place], color=colour, linewidth=2)
            axes.plot([found["estimate"]], [place], marker="o", color=colour)
        axes.axvline(0.0, color=_GREY, linewidth=1)
        axes.set_yticks(range(len(compared)), [arm["arm"] for arm in compared])
        axes.set_ylim(-0.6, len(compared) - 0.4)
        axes.set_xlabel("AUC minus that of uniform")
        chart = Chart(
            title="Difference to uniform",
            caption="Paired on the same rows, with the 95 % interval: right of 0 is better than a random share.",
            svg=_svg(figure),
        )
        return [chart]


_ROUND_CHARTS: tuple[tuple[str, str, dict[str, Callable[[Round], float | None]]], ...] = (
    (
        "Effective sample size",
        "(sum w)² / sum w² of the learned rows over their number: 1 when all weigh alike.",
        {"": lambda one: one.effective_sample_size / one.backward_rows if one.backward_rows else None},
    ),
    (
        "Importance weights",
        "Median (line) and 95 % quantile (dashed) of the learned rows' weights.",
        {"": lambda one: one.weight_p50, "p95": lambda one: one.weight_p95},
    ),
    (
        "Share of rows selected",
        "Mean inclusion probability: what is spent of the budget.",
        {"": lambda one: one.mean_inclusion_probability},
    ),
    (
        "Ladder",
        "Share of the newest weights (line) and of the frozen version (dashed) in what serves.",
        {"": lambda one: one.share_newest, "frozen": lambda one: one.share_anchor},
    ),
    (
        "Variance ratio",
        "M = 1 + CV² of the gradient norms: how far importance sampling can be better than uniform sampling at all.",
        {"": lambda one: one.variance_ratio},
    ),
    (
        "Stability of importance",
        "Rank correlation of the importance of fixed rows with the look before: clicked (line), not clicked (dashed).",
        {"": lambda one: one.stability_spearman_clicked, "others": lambda one: one.stability_spearman_not_clicked},
    ),
    (
        "Stability of the most important tenth",
        "Share of it that both looks agree on.",
        {"": lambda one: one.stability_top_overlap},
    ),
    (
        "Importance that moved",
        "Total variation: the share of the fixed rows' importance that went to other rows since the look before.",
        {"": lambda one: one.stability_total_variation},
    ),
)


def _score_chart(
    runs_of: Runs,
    turns: Sequence[int],
    metric: Callable[[Any, Any], float],
    *,
    title: str,
    caption: str,
    level: float | None = None,
    limit: str | None = None,
) -> Chart:
    with mpl.rc_context(_STYLE):
        figure, axes = _figure()
        if limit is not None:
            curve = score_curve(next(iter(runs_of.values())), limit, metric)
            _draw(axes, curve, _GREY, "best possible", ":")
        _draw_frozen(axes, runs_of, metric)
        for place, (name, runs) in enumerate(runs_of.items()):
            _draw(axes, score_curve(runs, "z_live", metric), _colour(place), name)
        if level is not None:
            axes.axhline(level, color=_GREY, linewidth=0.5)
        _finish(axes, turns)
        return Chart(title=title, caption=caption, svg=_svg(figure))


def _round_chart(
    runs_of: Runs,
    turns: Sequence[int],
    lines: Mapping[str, Callable[[Round], float | None]],
    *,
    title: str,
    caption: str,
) -> Chart | None:
    with mpl.rc_context(_STYLE):
        figure, axes = _figure()
        for place, (name, runs) in enumerate(runs_of.items()):
            for suffix, value in lines.items():
                curve = round_curve(runs, value)
                _draw(axes, curve, _colour(place), "" if suffix else name, "--" if suffix else "-")
        if not axes.lines:
            return None
        _finish(axes, turns)
        return Chart(title=title, caption=caption, svg=_svg(figure))


def _draw_frozen(axes: Axes, runs_of: Runs, metric: Callable[[Any, Any], float]) -> None:
    """Draw what the frozen versions said: one grey line where all arms have the same."""
    curves = [score_curve(runs, "z_frozen", metric) for runs in runs_of.values()]
    shared = all(np.array_equal(curve.value, curves[0].value, equal_nan=True) for curve in curves)
    for place, curve in enumerate(curves[:1] if shared else curves):
        _draw(axes, curve, _GREY if shared else _colour(place), "frozen" if shared else "", "--")


def _draw(axes: Axes, curve: Curve, colour: str, label: str, line: str = "-") -> None:
    known = ~np.isnan(curve.value)
    if known.any():
        # A lone point has no line.
        marker = "o" if known.sum() == 1 else None
        row, value = curve.row[known], curve.value[known]
        axes.plot(row, value, color=colour, linestyle=line, marker=marker, label=label or None)


def _figure(height: float = 3.2) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(7.6, height), layout="constrained")
    return figure, figure.subplots()


def _finish(axes: Axes, turns: Sequence[int]) -> None:
    for place, row in enumerate(turns):
        axes.axvline(row, color="0.25", linestyle="-.", linewidth=0.8, label=None if place else "tastes turn")
    axes.set_xlabel("row of the stream")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.margins(x=0.01)
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        axes.figure.legend(handles, labels, loc="outside upper left", ncols=4, fontsize=9)


def _colour(place: int) -> str:
    return f"C{place % _NUM_COLOURS}"


def _svg(figure: Figure) -> Markup:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata=_NO_METADATA)
    text = buffer.getvalue()
    # An element of a page, not a file: without XML declaration and document type.
    text = re.sub(r"^.*?(?=<svg)", "", text, flags=re.DOTALL)
    return Markup(text)
