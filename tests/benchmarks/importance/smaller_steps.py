"""The follow-up: every arm at its own best pair of step size and learning rate; design in smaller_steps.toml."""

import hashlib
import tomllib
from collections.abc import Iterator

import numpy as np

from tests.benchmarks.importance.arms import PRIMARY
from tests.benchmarks.importance.cells import Cell, budgets_of
from tests.benchmarks.importance.design import DIGEST, HERE, TABLE, primary
from tests.benchmarks.importance.results import progressive_auc

_DESIGN = HERE / "smaller_steps.toml"
_CHOSEN = HERE / "chosen_steps.toml"
_TABLE = tomllib.loads(_DESIGN.read_text())
_DIGEST = f"{DIGEST}-{hashlib.sha256(_DESIGN.read_bytes()).hexdigest()[:12]}"

ARMS = tuple(arm for arm in PRIMARY if arm.name in _TABLE["arms"])

Steps = dict[str, dict[str, dict[str, float]]]
"""By arm and budget: batch_rows and rate."""


def tuning_cells() -> Iterator[Cell]:
    """Yield every arm at every step size and rate on development seeds."""
    for scenario in primary():
        for arm in ARMS:
            for budget in budgets_of(arm):
                for batch_rows in _TABLE["batch_rows"]:
                    for rate in TABLE["grid"]["learning_rates"]:
                        for seed in TABLE["seeds"]["dev"]:
                            yield Cell(scenario, seed, arm, budget, rate, tuning=True, batch_rows=batch_rows)


def choose() -> None:
    """Write the best pair of each arm and budget, by mean AUC over development seeds and the four streams."""
    found: dict[tuple[str, float], dict[tuple[int, float], list[float]]] = {}
    for cell in tuning_cells():
        pairs = found.setdefault((cell.arm.name, cell.budget), {})
        pairs.setdefault((cell.batch_rows, cell.rate), []).append(progressive_auc(cell.result()))
    lines = [
        "# Rows of an optimizer step and learning rate, chosen on development seeds by mean progressive AUC over the",
        f"# four streams, from all pairs of {_TABLE['batch_rows']} and {TABLE['grid']['learning_rates']}.",
        "# The AUC of the best rate at each step size stands beside the choice.",
        "# Written by `python -m tests.benchmarks.bench_importance tune-steps`, before the report's seeds ran.",
        f'design = "{_DIGEST}"',
    ]
    for arm in ARMS:
        lines += ["", f"[{arm.name}]"]
        for budget in budgets_of(arm):
            means = {pair: float(np.mean(values)) for pair, values in found[arm.name, budget].items()}
            batch_rows, rate = max(means, key=lambda pair: means[pair])
            tops = (max(mean for (size, _), mean in means.items() if size == each) for each in _TABLE["batch_rows"])
            beside = " ".join(f"{top:.4f}" for top in tops)
            lines.append(f'"{budget:g}" = {{ batch_rows = {batch_rows}, rate = {rate} }}  # {beside}')
    _CHOSEN.write_text("\n".join(lines) + "\n")


def chosen() -> Steps:
    """Return the committed pairs.

    Raises:
        ValueError: they belong to another design.
    """
    table = tomllib.loads(_CHOSEN.read_text()) if _CHOSEN.exists() else {}
    if table.get("design") != _DIGEST:
        message = f"{_CHOSEN.name} is of design {table.get('design')}, not {_DIGEST}; run the tune-steps phase"
        raise ValueError(message)
    return table


def report_cells(steps: Steps) -> Iterator[Cell]:
    """Yield the follow-up on its own seeds."""
    for scenario in primary():
        for arm in ARMS:
            for budget in budgets_of(arm):
                step = steps[arm.name][f"{budget:g}"]
                for seed in _TABLE["seeds"]:
                    size = int(step["batch_rows"])
                    yield Cell(scenario, seed, arm, budget, step["rate"], tuning=False, batch_rows=size)
