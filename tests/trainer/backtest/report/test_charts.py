import re
import xml.etree.ElementTree as ET

from tests.trainer.backtest.tiny import made_round, made_run
from trainer.backtest.report.charts import forest_chart, stream_charts
from trainer.backtest.runs.results import Run

FOUND = {"estimate": 0.01, "low": -0.01, "high": 0.03}


def runs_of(**arguments):
    return {name: [made_run(name, seed, **arguments) for seed in range(2)] for name in ("base", "new")}


def titles(charts):
    return [chart.title for chart in charts]


def texts(chart):
    return [
        "".join(element.itertext()).strip()
        for element in ET.fromstring(chart.svg).iter("{http://www.w3.org/2000/svg}text")
    ]


def test_there_is_a_figure_for_everything_that_is_known():
    charts = stream_charts(runs_of(), [])
    assert titles(charts) == [
        "AUC",
        "Normalized entropy",
        "Calibration",
        "Effective sample size",
        "Importance weights",
        "Share of rows selected",
        "Ladder",
        "Variance ratio",
    ]


def test_the_auc_figure_names_every_arm_and_what_bounds_them():
    chart = stream_charts(runs_of(limit=True), [3_000])[0]
    assert {"base", "new", "frozen", "best possible", "tastes turn"} <= set(texts(chart))


def test_a_figure_is_an_element_of_a_page_that_needs_nothing_else():
    for chart in stream_charts(runs_of(), []):
        assert chart.svg.startswith("<svg")
        assert not re.search(r"(href|src)=\"(?!#)", chart.svg)


def test_the_same_runs_are_the_same_figures():
    assert stream_charts(runs_of(), []) == stream_charts(runs_of(), [])


def test_differences_are_drawn_where_there_are_any():
    arms = [{"arm": "base", "difference_to_uniform": None}, {"arm": "new", "difference_to_uniform": FOUND}]
    (chart,) = forest_chart(arms)
    assert "new" in texts(chart)
    assert forest_chart(arms[:1]) == []


def test_what_is_known_now_and_then_is_one_line():
    run = made_run()
    rounds = [
        made_round(first_row=one.first_row, stability_top_overlap=None if (one.round - 1) // 2 % 2 else 0.8)
        for one in run.rounds
    ]
    charts = stream_charts({"base": [Run("base", 0, rounds, run.predictions)]}, [])
    chart = next(one for one in charts if one.title == "Stability of the most important tenth")
    line = re.search(r'd="(M[^"]*)"[^>]*style="fill: none; stroke: #1f77b4', chart.svg, re.DOTALL)
    assert line.group(1).count("M") == 1
