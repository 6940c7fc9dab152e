"""`millstream backtest`: ways of learning compared on a recorded log or a simulated shop, without Kafka."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stream.simulator.drift_kind import DriftKind

if TYPE_CHECKING:
    from rich.table import Table

    from trainer.backtest.runs.arms import Arm
    from trainer.backtest.runs.streams import Stream

INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells have it."""

SIMULATED_ROWS = 28_000

_TABLE_WIDTH = 110
"""Columns of the table that is printed: folded numbers are hard to compare."""

Log = Annotated[Path | None, typer.Argument(help="A recorded log: .jsonl, .jsonl.gz or .parquet.")]
Simulate = Annotated[DriftKind | None, typer.Option(help="A simulated shop instead of a log.")]
Strategies = Annotated[
    str | None, typer.Option(help="Importance strategies, comma separated; uniform,gradnorm_is by default.")
]

app = typer.Typer()


@app.command()
def backtest(
    log: Log = None,
    simulate: Simulate = None,
    strategies: Strategies = None,
    budget: Annotated[
        float | None, typer.Option(min=0.001, max=1.0, help="Expected share of rows that are learned.")
    ] = None,
    gate: Annotated[bool, typer.Option(help="Whether updates are judged before they serve.")] = True,
    arms: Annotated[Path | None, typer.Option(help="TOML file of [[arm]] tables instead of --strategies.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Runs of each arm.")] = 1,
    limit: Annotated[
        int | None,
        typer.Option("--limit", "--rows", min=100, help="Impressions to take; all of a log, 28,000 of a shop."),
    ] = None,
    warm_start: Annotated[
        int | None, typer.Option(min=10, help="Impressions version 1 learns; 4,000 or a tenth of all.")
    ] = None,
    ctr: Annotated[float | None, typer.Option(min=0.001, max=0.6, help="Click rate of the simulated shop.")] = None,
    click_delay: Annotated[float, typer.Option(min=0, help="Seconds from a positive row to its click.")] = 1.0,
    skip_bad_lines: Annotated[bool, typer.Option(help="Leave out and count unusable lines.")] = False,
    workers: Annotated[int | None, typer.Option(min=1, help="Runs at one time; as many as cores.")] = None,
    out: Annotated[Path, typer.Option(help="Directory of report and data.")] = Path("backtest-report"),
) -> None:
    """Compare importance strategies, or any settings, on the same impressions, as fast as the machine goes.

    Every impression is scored before anything learns from it, updates are judged and served as they would be live. AUC
    is of the score at the end of the attribution window, when the label is due; AUC served of the one that was shown.
    What is complete in --out is not run again, so an interrupted backtest goes on. The report needs no network.

    Example: millstream backtest clicks.jsonl.gz --strategies uniform,gradnorm_is --budget 0.25 --seeds 3

    Example: millstream backtest --simulate sudden --arms arms.toml --out turn
    """
    source = log_or_shop("backtest", log, simulate)
    _refuse_contradictions(source, ctr, arms, beside_arms=strategies is not None or budget is not None or not gate)
    chosen = _arms(arms, strategies, budget, gate=gate)
    from trainer.backtest.runs.streams import recorded_stream, simulated_stream

    if isinstance(source, Path):
        stream: Stream = recorded_stream(
            source,
            limit=limit,
            warm_start_rows=warm_start,
            click_delay_seconds=click_delay,
            skip_bad_lines=skip_bad_lines,
        )
    else:
        stream = simulated_stream(source, limit or SIMULATED_ROWS, warm_start_rows=warm_start, ctr=ctr)
    _run(stream, chosen, seeds, out, workers or os.cpu_count() or 1)


def log_or_shop(command: str, log: Path | None, simulate: DriftKind | None) -> Path | DriftKind:
    """Return the one of both that was named.

    Raises:
        ValueError: None was, or both were.
    """
    named = [source for source in (log, simulate) if source is not None]
    if len(named) != 1:
        message = (
            f"name either a recorded log or --simulate none|sudden|gradual|recurring; see millstream {command} --help"
        )
        raise ValueError(message)
    return named[0]


def _refuse_contradictions(
    source: Path | DriftKind, ctr: float | None, arms: Path | None, *, beside_arms: bool
) -> None:
    if arms is not None and beside_arms:
        message = f"--arms {arms} says what every arm does; set strategy, budget and gate there, not beside it"
        raise ValueError(message)
    if ctr is not None and isinstance(source, Path):
        message = f"--ctr {ctr} is of a simulated shop, but {source} is a log with clicks of its own; leave it out"
        raise ValueError(message)


def _arms(file: Path | None, strategies: str | None, budget: float | None, *, gate: bool) -> "list[Arm]":
    from trainer.backtest.runs.arms import arms_of_strategies, read_arms

    if file is not None:
        return read_arms(file)
    names = [name.strip() for name in (strategies or "uniform,gradnorm_is").split(",") if name.strip()]
    return arms_of_strategies(names, budget, gate=gate)


def _run(stream: "Stream", arms: "Sequence[Arm]", seeds: int, out: Path, workers: int) -> None:
    from rich.console import Console

    from trainer.backtest.driver import run_backtest

    try:
        summary = run_backtest(stream, arms, num_seeds=seeds, directory=out, workers=workers)
    except KeyboardInterrupt:
        typer.echo(f"interrupted; the complete runs are in {out}, and the same command goes on from there", err=True)
        raise typer.Exit(INTERRUPTED) from None
    Console(width=max(_TABLE_WIDTH, Console().width)).print(_table(summary))
    for arm in summary["arms"]:
        typer.echo(f"{arm['arm']}: {arm['worth']['sentence']}")
    typer.echo(f"report: {out / 'report.html'}")


def _table(summary: Mapping[str, Any]) -> "Table":
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for name in ("arm", "AUC", "minus uniform", "AUC served", "AUC frozen", "NE", "calibration", "learned"):
        table.add_column(name, justify="left" if name == "arm" else "right", overflow="fold")
    for arm in summary["arms"]:
        found = arm["difference_to_uniform"]
        table.add_row(
            arm["arm"],
            _number(arm["auc"]),
            f"{found['estimate']:+.4f} ({found['low']:+.4f} to {found['high']:+.4f})" if found else "-",
            _number(arm["auc_served"]),
            _number(arm["auc_frozen"]),
            _number(arm["normalized_entropy"]),
            _number(arm["calibration"]),
            f"{arm['backward_rows']:,.0f}",
        )
    return table


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
