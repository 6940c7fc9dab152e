"""The importance benchmark: `python -m tests.benchmarks.bench_importance [PHASE]`; resumable.

Every importance strategy against `uniform` at the same backward rows, on drifting streams of a simulated shop and on
real logs. Phases: `tune` chooses learning rates on development seeds and writes importance/chosen.toml, to be committed
before the others run; `primary`, `secondary` and `logs` run the report's seeds; `report` writes
tests/benchmarks/results/importance_202611.*; `all`, the default, is everything but `tune`. Each cell is run once and
kept under .bench/, so that an interrupted run goes on where it was.
"""

import argparse
import os
import sys
import time
from pathlib import Path

from rich.console import Console

from tests.benchmarks.importance import phases, report, smaller_steps
from tests.benchmarks.importance.cells import run_cells
from tests.benchmarks.importance.design import TABLE, logs, primary

REPORTED = ("primary", "secondary", "logs", "steps", "report")
PHASES = ("tune", "tune-steps", *REPORTED, "all")


def main(arguments: list[str]) -> int:
    """Run the phases that were asked for; exit 0."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("phase", nargs="?", choices=PHASES, default="all")
    parser.add_argument("--workers", type=int, default=2, help="processes, one thread each")
    parser.add_argument(
        "--logs",
        type=Path,
        default=os.environ.get("BENCH_DATA"),
        help="folder of the real logs; default: BENCH_DATA; without it they are skipped",
    )
    options = parser.parse_args(arguments)
    console = Console()
    folder = _logs_at(options.logs, console)
    started = time.monotonic()
    wanted = REPORTED if options.phase == "all" else (options.phase,)
    for phase in wanted:
        _run(phase, options.workers, folder, console)
    console.print(f"{' and '.join(wanted)}: {(time.monotonic() - started) / 60:.1f} min", highlight=False)
    return 0


def _run(phase: str, workers: int, folder: Path | None, console: Console) -> None:
    if phase == "tune":
        scenarios = [*primary(), *(logs() if folder else [])]
        run_cells(phases.tuning_cells(scenarios), workers, folder, console)
        phases.choose_rates(with_logs=folder is not None)
    elif phase == "primary":
        rates = phases.chosen_rates()
        run_cells(phases.primary_cells(rates), workers, folder, console)
        run_cells(phases.per_stream_cells(rates), workers, folder, console)
    elif phase == "secondary":
        run_cells(phases.secondary_cells(phases.chosen_rates()), workers, folder, console)
    elif phase == "logs" and folder:
        run_cells(phases.log_cells(phases.chosen_rates()), workers, folder, console)
    elif phase == "tune-steps":
        run_cells(smaller_steps.tuning_cells(), workers, folder, console)
        smaller_steps.choose()
    elif phase == "steps":
        run_cells(smaller_steps.report_cells(smaller_steps.chosen()), workers, folder, console)
    elif phase == "report":
        report.write(console)


def _logs_at(folder: Path | None, console: Console) -> Path | None:
    """Return the folder if it holds every log; say what is missing otherwise."""
    if folder is None:
        console.print("real logs: skipped, neither --logs nor BENCH_DATA names their folder")
        return None
    missing = [
        TABLE["logs"][log.name]["file"] for log in logs() if not (folder / TABLE["logs"][log.name]["file"]).exists()
    ]
    if missing:
        console.print(f"real logs: skipped, {folder} does not hold {', '.join(missing)}")
        return None
    return folder


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
