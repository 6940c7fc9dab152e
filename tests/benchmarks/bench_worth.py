"""What retraining is worth: `python -m tests.benchmarks.bench_worth [--seeds N] [--logs DIR]`; resumable.

Live against frozen, at the default settings, on the shops of worth_design.toml and on a real log, and against serving
the newest weights where tastes turn; and what the ladder costs the trainer. Runs are kept under .bench/worth, so that
an interrupted call, or one with more seeds, goes on. Writes tests/benchmarks/results/worth_202611.md and .json.
"""

import argparse
import json
import os
import platform
import re
import sys
import time
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from scorer.measures.auc import Interval
from tests.benchmarks.importance.statistics import holm, mean_p, paired_interval
from tests.benchmarks.importance.tables import points, table
from tests.benchmarks.ladder_cost import Cost, measure
from trainer.backtest.driver import run_backtest
from trainer.backtest.runs.arms import Arm, read_arms
from trainer.backtest.runs.streams import Stream, recorded_stream, simulated_stream

HERE = Path(__file__).parent
DESIGN = tomllib.loads((HERE / "worth_design.toml").read_text())
CACHE = Path(".bench/worth")
RESULT = HERE / "results" / "worth_202611"
ARMS = """
[[arm]]
name = "live"

[[arm]]
name = "newest"
[arm.trainer]
ladder_rows = 0
"""
BOOTSTRAP_SEED = 12
SIGNIFICANT = 0.05


def main(arguments: list[str]) -> int:
    """Run what is missing and write the report; exit 0."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=DESIGN["seeds"], help="shops of each kind")
    parser.add_argument("--workers", type=int, default=2, help="runs at one time")
    parser.add_argument("--logs", type=Path, default=os.environ.get("BENCH_DATA"), help="folder of the real log")
    options = parser.parse_args(arguments)
    started = time.monotonic()
    live, newest = _arms()
    found = {}
    for cell in DESIGN["stream"]:
        arms = [live] if cell["drift"] == "none" else [live, newest]
        found[cell["name"]] = _run(cell["name"], _shop(cell), arms, options.seeds, options.workers)
    for log in DESIGN["log"] if options.logs else []:
        stream = recorded_stream(
            options.logs / log["file"], limit=log["rows"], warm_start_rows=DESIGN["warm_start_rows"]
        )
        found[log["name"]] = _run(log["name"], stream, [live], 1, options.workers)
    RESULT.with_suffix(".json").write_text(json.dumps(found, indent=1) + "\n")
    quiet = simulated_stream("none", DESIGN["rows"], warm_start_rows=DESIGN["warm_start_rows"])
    costs = [measure(quiet, live, newest, threads) for threads in (1, 2)]
    RESULT.with_suffix(".md").write_text("\n".join([*_report(found), *_cost_table(costs)]) + "\n")
    sys.stdout.write(f"{RESULT}.md: {(time.monotonic() - started) / 60:.1f} min\n")
    return 0


def _arms() -> list[Arm]:
    CACHE.mkdir(parents=True, exist_ok=True)
    (CACHE / "arms.toml").write_text(ARMS)
    return read_arms(CACHE / "arms.toml")


def _shop(cell: Mapping[str, Any]) -> Stream:
    stream = simulated_stream(cell["drift"], DESIGN["rows"], warm_start_rows=DESIGN["warm_start_rows"])
    shop = stream.shop.model_copy(update={**cell["shop"], "seed": DESIGN["first_seed"]})
    return replace(stream, shop=shop)


def _run(name: str, stream: Stream, arms: Sequence[Arm], num_seeds: int, workers: int) -> dict[str, Any]:
    directory = CACHE / re.sub(r"\W+", "_", name)
    return run_backtest(stream, arms, num_seeds=num_seeds, directory=directory, workers=workers)


def _report(found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    num_seeds = max(summary["arms"][0]["seeds"] for summary in found.values())
    return [
        "# What retraining is worth: live against frozen, and against the newest weights",
        "",
        "Command: `python -m tests.benchmarks.bench_worth --logs DIR`. Every seed and interval is in the .json.",
        f"Date: {time.strftime('%Y-%m-%d', time.gmtime())}. CPython {platform.python_version()}, "
        f"torch {version('torch')}; {os.cpu_count()} cores, CPU only.",
        "",
        f"Default settings (`gradnorm_is`, budget 0.5, gate, ladder), one-layer MiniLM. {DESIGN['rows']:,} rows, "
        f"{DESIGN['warm_start_rows']:,} of them the warm start that frozen stays at; {num_seeds} shops of each kind, "
        "one log. AUC within spans; NE is log loss over the entropy of the click rate. 95 % intervals: bootstrap over "
        "the shops, over blocks of spans for a log; bold: clear of zero; *: Holm's p below 0.05 over all shops, both "
        "measures. The design (worth_design.toml) was committed before its seeds ran.",
        "",
        *(HERE / "worth_reading.md").read_text().splitlines(),
        "",
        "## Live minus frozen",
        "",
        *_worth_table(found),
        "## Live minus the newest weights, where tastes turn",
        "",
        *_newest_table(found),
    ]


def _worth_table(found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    tests = {
        (name, measure): mean_p(difference)
        for name, summary in found.items()
        if (live := summary["arms"][0])["seeds"] > 1
        for measure, difference in (("auc", _auc_gains(live)), ("log_loss", _entropy_changes(live)))
    }
    adjusted = dict(zip(tests, holm(list(tests.values())), strict=True))
    rows = []
    for name, summary in found.items():
        live = summary["arms"][0]
        worth = live["worth"]
        by_auc, by_log_loss = (
            points(Interval(**worth[measure]), starred=adjusted.get((name, measure), 1.0) < SIGNIFICANT)
            if worth[measure]
            else "-"
            for measure in ("auc", "log_loss")
        )
        rows.append(
            [
                name,
                f"{live['auc']:.3f} / {live['auc_frozen']:.3f}",
                by_auc,
                f"{live['normalized_entropy']:.3f} / {live['normalized_entropy_frozen']:.3f}",
                by_log_loss,
                f"{sum(gain < 0 for gain in _auc_gains(live))} of {live['seeds']}",
                str(sum(run["gate_decisions"].get("hold: worse_than_frozen", 0) for run in live["by_seed"])),
            ]
        )
    header = ("stream", "AUC live / frozen", "AUC points", "NE live / frozen", "log loss, nats / 100", "shops below")
    return table([*header, "returns to frozen"], rows)


def _newest_table(found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    rows = []
    for name, summary in found.items():
        if len(summary["arms"]) < 2:
            continue
        live, newest = summary["arms"]
        gains = [one["auc"] - other["auc"] for one, other in zip(live["by_seed"], newest["by_seed"], strict=True)]
        rows.append(
            [
                name,
                f"{live['auc']:.3f} / {newest['auc']:.3f}",
                points(paired_interval(gains, BOOTSTRAP_SEED)),
                f"{live['normalized_entropy']:.3f} / {newest['normalized_entropy']:.3f}",
            ]
        )
    return table(["stream", "AUC live / newest", "AUC points", "NE live / newest"], rows)


def _cost_table(costs: Sequence[Cost]) -> list[str]:
    rows = [
        [str(one.threads), f"{one.without:.3f}", f"{one.with_ladder:.3f}", f"{100 * one.throughput_change:+.1f} %"]
        for one in costs
    ]
    header = ("threads", "s without", "s with the ladder", "rows/s")
    heading = f"## What the ladder costs: an update of {costs[0].rows} rows, median, checkpoint included"
    return [heading, "", *table(header, rows)]


def _auc_gains(arm: Mapping[str, Any]) -> list[float]:
    return [run["auc"] - run["auc_frozen"] for run in arm["by_seed"]]


def _entropy_changes(arm: Mapping[str, Any]) -> list[float]:
    return [run["normalized_entropy"] - run["normalized_entropy_frozen"] for run in arm["by_seed"]]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
