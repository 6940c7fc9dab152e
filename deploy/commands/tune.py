"""`millstream tune`: which settings learn best on a log."""

from pathlib import Path
from typing import Annotated, Any

import typer

from deploy.commands.backtest import Log, Simulate, log_or_shop

app = typer.Typer()


@app.command()
def tune(
    log: Log = None,
    simulate: Simulate = None,
    limit: Annotated[int, typer.Option(min=1000, help="Impressions of a trial, from the first.")] = 20_000,
    trials: Annotated[int, typer.Option(min=1, help="Backtests; the first has the present settings.")] = 20,
    out: Annotated[Path, typer.Option(help="The settings file to write.")] = Path("tuned.toml"),
    strategies: Annotated[str, typer.Option(help="Importance strategies to choose from.")] = "gradnorm_is,uniform",
    budgets: Annotated[str, typer.Option(help="Budgets to choose from.")] = "0.5",
    layers: Annotated[str, typer.Option(help="Numbers of encoder layers to choose from.")] = "1",
    batch_rows: Annotated[str, typer.Option(help="Rows of a step to choose from.")] = "16,32,64",
    update_rows: Annotated[str, typer.Option(help="Rows of an update to choose from.")] = "256,352,512,1024",
    validation_share: Annotated[float, typer.Option(min=0.05, max=1.0, help="Last share that is judged.")] = 0.5,
    seed: Annotated[int, typer.Option(min=0, help="Of the search and of the backtests.")] = 0,
) -> None:
    """Choose learning rates, batch, update, layers, strategy and budget by backtests, and write a settings file.

    Every trial learns from the whole stream and is judged by progressive AUC on its last part; Optuna gives up trials
    that fall behind. Ctrl-C keeps what was found so far. Report results on another log than the one tuned on.

    Example: millstream tune clicks.jsonl.gz --limit 30000 --trials 30 --out tuned.toml

    Example: millstream tune --simulate sudden --budgets 0.25,0.5 && MILLSTREAM_CONFIG=tuned.toml millstream trainer run
    """
    space: dict[str, Any] = {
        "strategies": _values("--strategies", strategies, str),
        "budgets": _values("--budgets", budgets, float),
        "num_layers": _values("--layers", layers, int),
        "batch_rows": _values("--batch-rows", batch_rows, int),
        "update_rows": _values("--update-rows", update_rows, int),
    }
    source = log_or_shop("tune", log, simulate)
    from rich.console import Console

    from deploy.tuning import run_tuning, table_of
    from trainer.backtest.runs.streams import recorded_stream, simulated_stream
    from trainer.tuning.search import SearchSpace

    tuned = run_tuning(
        recorded_stream(source, limit=limit) if isinstance(source, Path) else simulated_stream(source, limit),
        SearchSpace(**space),
        out,
        num_trials=trials,
        validation_share=validation_share,
        seed=seed,
    )
    Console(width=160).print(table_of(tuned))
    typer.echo(f"chosen settings: {out}; use them with MILLSTREAM_CONFIG={out}")


def _values(option: str, text: str, kind: type) -> tuple[Any, ...]:
    """Return the comma-separated values of an option."""
    try:
        values = tuple(kind(part.strip()) for part in text.split(",") if part.strip())
    except ValueError as error:
        message = f"{option} {text!r} is no comma-separated list of {kind.__name__} values: {error}"
        raise ValueError(message) from error
    if not values:
        message = f"{option} is empty; name at least one value"
        raise ValueError(message)
    return values
