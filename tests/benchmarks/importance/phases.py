"""The phases: choose learning rates on development seeds, then run the report's seeds at those rates."""

import tomllib
from collections.abc import Iterable, Iterator

import numpy as np

from tests.benchmarks.importance.arms import DELAYED, FULL, HEADS, PRIMARY, SECONDARY, Arm
from tests.benchmarks.importance.cells import Cell, budgets_of
from tests.benchmarks.importance.design import CHOSEN, DIGEST, TABLE, Scenario, logs, primary, secondary
from tests.benchmarks.importance.results import progressive_auc

Rates = dict[str, dict[str, dict[str, float]]]
"""Learning rates by group of streams ("simulated", all four together, or a stream's or log's name), arm and budget."""


def tuning_cells(scenarios: Iterable[Scenario]) -> Iterator[Cell]:
    """Yield every arm at every rate of the grid on development seeds."""
    for scenario in scenarios:
        for arm in PRIMARY:
            for budget in budgets_of(arm) if arm.learns else ():
                for rate in TABLE["grid"]["learning_rates"]:
                    for seed in TABLE["seeds"]["dev"]:
                        yield Cell(scenario, seed, arm, budget, rate, tuning=True)


def choose_rates(with_logs: bool) -> None:
    """Write the best rate of each arm and budget, by mean AUC over development seeds and streams."""
    groups = {"simulated": primary()} | {stream.name: [stream] for stream in primary()}
    groups |= {log.name: [log] for log in logs()} if with_logs else {}
    lines = [
        "# Learning rates, chosen on development seeds by mean progressive AUC over the streams of a group, the same",
        f"# grid for every arm: {TABLE['grid']['learning_rates']}. AUC of each, in grid order, stands beside it.",
        "# Written by `python -m tests.benchmarks.bench_importance tune`, and committed before the report's seeds ran.",
        f'design = "{DIGEST}"',
    ]
    for group, scenarios in groups.items():
        cells = list(tuning_cells(scenarios))
        best = max(_means(cells, FULL, 1.0).values())
        if scenarios[0].stream == "log" and best < TABLE["logs"]["least_auc"]:
            lines += ["", f"# {group}: full reaches {best:.4f} on the tuning rows, so they cannot tell rates apart."]
            continue
        for arm in dict.fromkeys(cell.arm for cell in cells):
            lines += ["", f"[{group}.{arm.name}]"]
            for budget in budgets_of(arm):
                if means := _means(cells, arm, budget):
                    rate = max(means, key=lambda rate: means[rate])
                    lines.append(f'"{budget:g}" = {rate}  # {" ".join(f"{mean:.4f}" for mean in means.values())}')
    CHOSEN.write_text("\n".join(lines) + "\n")


def _means(cells: list[Cell], arm: Arm, budget: float) -> dict[float, float]:
    """Return the mean AUC of each rate; nothing where the arm is not defined."""
    found: dict[float, list[float]] = {}
    for cell in cells:
        if (cell.arm, cell.budget) == (arm, budget) and cell.result()["undefined"] is None:
            found.setdefault(cell.rate, []).append(progressive_auc(cell.result()))
    return {rate: float(np.mean(values)) for rate, values in found.items()}


def chosen_rates() -> Rates:
    """Return the committed rates.

    Raises:
        ValueError: they belong to another design.
    """
    table = tomllib.loads(CHOSEN.read_text()) if CHOSEN.exists() else {}
    if table.get("design") != DIGEST:
        message = f"{CHOSEN.name} is of design {table.get('design')}, settings.toml of {DIGEST}; run the tune phase"
        raise ValueError(message)
    return table


def primary_cells(rates: Rates) -> Iterator[Cell]:
    """Yield the primary family."""
    for scenario in primary():
        yield from _report_cells(scenario, (*PRIMARY, HEADS), TABLE["seeds"]["report"], rates["simulated"])


def per_stream_cells(rates: Rates) -> Iterator[Cell]:
    """Yield the primary family once more, every arm at its best rate for the stream; often the same one."""
    for scenario in primary():
        yield from _report_cells(scenario, PRIMARY, TABLE["seeds"]["report"], rates[scenario.name])


def secondary_cells(rates: Rates) -> Iterator[Cell]:
    """Yield the cells beside it; rates are those of the primary family."""
    for scenario in secondary():
        arms = DELAYED if scenario.delay_rounds else SECONDARY
        yield from _report_cells(scenario, arms, TABLE["seeds"]["secondary"], rates["simulated"])


def log_cells(rates: Rates) -> Iterator[Cell]:
    """Yield the real logs."""
    for scenario in logs():
        yield from _report_cells(
            scenario, PRIMARY, TABLE["seeds"]["logs"], rates.get(scenario.name, rates["simulated"])
        )


def _report_cells(
    scenario: Scenario, arms: Iterable[Arm], seeds: Iterable[int], rates: dict[str, dict[str, float]]
) -> Iterator[Cell]:
    for arm in arms:
        # An arm that was not tuned itself takes the rate of its strategy, or of `uniform`.
        own = rates.get(arm.name) or rates.get(arm.strategy) or rates["uniform"]
        for budget in budgets_of(arm):
            rate = own.get(f"{budget:g}", 0.0) if arm.learns else 0.0
            for seed in seeds:
                yield Cell(scenario, seed, arm, budget, rate, tuning=False)
