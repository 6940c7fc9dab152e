"""What `millstream tune` does: searches with progress, tells what it found, writes the settings file."""

import json
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from trainer.backtest.runs.streams import Stream
from trainer.tuning.search import SearchSpace, TrialResult, Tuned, tune
from trainer.tuning.settings_file import refuse_existing, write_settings_file


def run_tuning(
    stream: Stream, space: SearchSpace, out: Path, *, num_trials: int, validation_share: float, seed: int
) -> Tuned:
    """Search, show every trial, and write the chosen settings to `out` and all trials beside it (`.trials.json`).

    Raises:
        ValueError: the file exists, or no trial came to an end.
    """
    refuse_existing(out)
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console) as progress:
        trials = progress.add_task("trials", total=num_trials)
        rows = progress.add_task("rows of this trial", total=stream.num_rows - stream.warm_start_rows)

        def show(result: TrialResult) -> None:
            progress.advance(trials)
            progress.console.print(_line(result), highlight=False)

        tuned = tune(
            stream,
            space,
            num_trials=num_trials,
            validation_share=validation_share,
            seed=seed,
            on_rows=lambda count: progress.update(rows, completed=count),
            on_trial=show,
        )
    write_settings_file(out, tuned.settings(), _heading(tuned, stream, validation_share))
    facts = {"stream": stream.facts(), "validation_share": validation_share, "seed": seed}
    report = facts | {"best": tuned.best.number, "trials": [asdict(result) for result in tuned.trials]}
    out.with_suffix(".trials.json").write_text(json.dumps(report, indent=2, default=str) + "\n", encoding="utf-8")
    return tuned


def table_of(tuned: Tuned) -> Table:
    """Return the trials as a table, best first, those that were given up last."""
    table = Table(title="Trials: progressive AUC on the validation stretch", box=None, pad_edge=False)
    names = list(tuned.best.values)
    for name in ("trial", "AUC", *names):
        table.add_column(name, justify="right", no_wrap=True)
    for result in sorted(tuned.trials, key=lambda one: (-(one.auc or 0.0), one.number)):
        auc = "given up" if result.auc is None else f"{result.auc:.4f}"
        marks = " (present)" * (result.number == 0) + " *" * (result.number == tuned.best.number)
        table.add_row(f"{result.number}{marks}", auc, *(_shown(result.values[name]) for name in names))
    return table


def _line(result: TrialResult) -> str:
    auc = f"given up at {result.looks[-1]:.4f}" if result.auc is None and result.looks else f"{result.auc or 0:.4f}"
    values = ", ".join(f"{name} {_shown(value)}" for name, value in result.values.items())
    return f"trial {result.number}: AUC {auc}  ({values})"


def _heading(tuned: Tuned, stream: Stream, validation_share: float) -> list[str]:
    present = "given up" if tuned.present.auc is None else f"{tuned.present.auc:.4f}"
    return [
        f"Chosen by `millstream tune` among {len(tuned.trials)} trials; read it with MILLSTREAM_CONFIG.",
        f"Progressive AUC {tuned.best.auc:.4f} on the last {validation_share:g} of {stream.num_rows} rows; "
        f"the settings before had {present}.",
        "A changed [model] needs a new model line: `millstream models init`, then `millstream models warm-start`.",
    ]


def _shown(value: object) -> str:
    return f"{value:.2e}" if isinstance(value, float) and value < 0.1 else str(value)
