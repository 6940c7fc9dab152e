"""The report: one HTML file that needs nothing else, with a table of the arms and figures of how they went."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from trainer.backtest.report.charts import forest_chart, stream_charts
from trainer.backtest.runs.arms import Arm
from trainer.backtest.runs.results import Run

_TEMPLATE = "report.html"


def render_report(summary: Mapping[str, Any], arms: Sequence[Arm], runs: Sequence[Run]) -> str:
    """Return the HTML of a backtest.

    Args:
        summary: Content of summary.json.
        arms: What was compared.
        runs: All runs.
    """
    runs_of = {arm.name: [run for run in runs if run.arm == arm.name] for arm in arms}
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": _number, "signed": _signed, "rows": _rows}
    return environment.get_template(_TEMPLATE).render(
        summary=summary,
        settings=_different_settings(arms),
        charts=[*forest_chart(summary["arms"]), *stream_charts(runs_of, summary["stream"].get("turn_rows", []))],
    )


def _different_settings(arms: Sequence[Arm]) -> dict[str, list[str]]:
    """Return the settings in which the arms differ: one value for each arm."""
    flat = [_flat("", {name: value for name, value in arm.facts().items() if name != "name"}) for arm in arms]
    names = sorted({name for one in flat for name in one})
    rows = {name: [one.get(name, "-") for one in flat] for name in names}
    return {name: values for name, values in rows.items() if len(set(values)) > 1}


def _flat(place: str, value: Any) -> dict[str, str]:
    if isinstance(value, dict):
        parts = [_flat(f"{place}.{name}" if place else name, inner) for name, inner in value.items()]
        return {name: text for part in parts for name, text in part.items()}
    return {place: str(value)}


def _number(value: float | None, digits: int = 4) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _signed(value: float) -> str:
    return f"{value:+.4f}"


def _rows(value: float) -> str:
    return f"{value:,.0f}"
