"""Cells: one arm on one stream with one seed; each is run once and kept as a small JSON file in .bench/."""

import json
import multiprocessing
import os
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from rich.console import Console
from threadpoolctl import threadpool_limits

from scorer.importance.settings import ImportanceSettings
from tests.benchmarks.importance.arms import Arm
from tests.benchmarks.importance.design import CACHE, DIGEST, TABLE, Scenario
from tests.benchmarks.importance.run import ArmRun, Setting, warm_start
from tests.benchmarks.importance.streams import load


@dataclass(frozen=True)
class Cell:
    """One run.

    Attributes:
        scenario: The stream, without its seed.
        seed: Of stream, initialisation, selection and order; arms share it.
        arm: What decides.
        budget: Share of rows that may be learned, before the arm's own additions.
        rate: Learning rate; 0 for an arm that does not learn.
        tuning: Whether this serves to choose a rate; decides which part of a log is used.
        batch_rows: Rows of one optimizer step after the warm start.
    """

    scenario: Scenario
    seed: int
    arm: Arm
    budget: float
    rate: float
    tuning: bool
    batch_rows: int = TABLE["training"]["batch_rows"]

    @property
    def path(self) -> Path:
        """Where the result is kept."""
        folder = CACHE / "cells" / DIGEST / f"{self.scenario.name}{'-tuning' if self.tuning else ''}"
        step = "" if self.batch_rows == TABLE["training"]["batch_rows"] else f"-n{self.batch_rows}"
        return folder / f"{self.arm.name}-b{self.budget:g}-r{self.rate:g}{step}-s{self.seed}.json"

    def result(self) -> dict[str, Any]:
        """Return what was measured."""
        return json.loads(self.path.read_text())


Unit = tuple[Scenario, int, bool]


def run_cells(cells: Iterable[Cell], workers: int, logs: Path | None, console: Console) -> None:
    """Run the cells that have no result yet, the ones of one stream together in one process."""
    open_cells = [cell for cell in cells if not cell.path.exists()]
    units = list(_units(open_cells))
    started, done = time.monotonic(), 0
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=threadpool_limits, initargs=(1,)) as pool:
        futures = {pool.submit(_run_unit, unit, logs): unit for unit in units}
        for future in as_completed(futures):
            future.result()
            done += len(futures[future])
            elapsed = time.monotonic() - started
            left = elapsed / done * (len(open_cells) - done)
            console.print(
                f"{done}/{len(open_cells)} cells, {elapsed / 60:.1f} min, about {left / 60:.0f} min left",
                highlight=False,
            )


def _units(cells: list[Cell]) -> Iterator[list[Cell]]:
    """Yield the cells of each stream; lower seeds first, so that an unfinished run is balanced."""
    key = lambda cell: (cell.seed, cell.scenario.name, cell.tuning)  # noqa: E731
    for _, unit in groupby(sorted(cells, key=key), key=key):
        yield list(unit)


def _run_unit(cells: list[Cell], logs: Path | None) -> None:
    first = cells[0]
    stream = load(first.scenario, first.seed, logs, tuning=first.tuning)
    start = warm_start(stream, first.seed)
    click_rate = float(stream.label_N.mean())
    for cell in cells:
        began = time.process_time()
        result: dict[str, Any] = {"seconds": 0.0, "undefined": _undefined(cell, click_rate)}
        if result["undefined"] is None:
            result |= ArmRun(stream, _setting(cell), start).run().as_dict()
            result["seconds"] = time.process_time() - began
        cell.path.parent.mkdir(parents=True, exist_ok=True)
        part = cell.path.with_suffix(f".{os.getpid()}.part")
        part.write_text(json.dumps(result))
        part.rename(cell.path)


def _setting(cell: Cell) -> Setting:
    scenario = cell.scenario
    noise = ImportanceSettings(
        false_click_rate=TABLE["noise"]["false_click_rate"] + scenario.flips,
        missed_click_rate=TABLE["noise"]["missed_click_rate"] + scenario.flips,
    )
    return Setting(cell.arm, cell.budget, cell.rate, cell.seed, noise, scenario.delay_rounds, cell.batch_rows)


def _undefined(cell: Cell, click_rate: float) -> str | None:
    if cell.arm.strategy == "negdown_offset" and click_rate >= cell.arm.budget(cell.budget):
        return f"CTR {click_rate:.3f} is not below the budget"
    if cell.arm.strategy == "" and cell.scenario.stream == "log":
        return "nobody knows a log's true probabilities"
    return None


def budgets_of(arm: Arm) -> list[float]:
    """Return the budgets an arm runs at."""
    return list(TABLE["grid"]["budgets"]) if arm.fixed is None else [arm.fixed]
