"""The results of a phase, by stream, arm and budget."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from scorer.measures.auc import Interval
from tests.benchmarks.importance.arms import UNIFORM, Arm
from tests.benchmarks.importance.cells import Cell
from tests.benchmarks.importance.design import TABLE, Scenario
from tests.benchmarks.importance.results import Result, progressive_auc
from tests.benchmarks.importance.statistics import (
    Doubles,
    block_interval,
    holm,
    mean_p,
    paired_interval,
    recovered_fraction,
    signed_rank_p,
)

Measure = Callable[[Result], float]
Key = tuple[str, str, float]
"""Names of stream and arm, and the cell's budget."""

_SEED = TABLE["seeds"]["bootstrap"]


@dataclass(frozen=True)
class Difference:
    """An arm minus another, AUC.

    Attributes:
        interval: Mean paired difference and its 95 % bootstrap interval.
        signed_rank: p of the Wilcoxon signed-rank test, not adjusted.
        mean: p of the paired t test, not adjusted.
    """

    interval: Interval
    signed_rank: float
    mean: float


class Family:
    """Results of cells; seeds in the order in which the cells name them.

    Args:
        cells: All must have been run.
    """

    def __init__(self, cells: Iterable[Cell]) -> None:
        self.cells = list(cells)
        self._results: dict[Key, list[Result]] = {}
        for cell in self.cells:
            self._results.setdefault(self._key(cell.scenario, cell.arm, cell.budget), []).append(cell.result())

    @cached_property
    def scenarios(self) -> list[Scenario]:
        """The streams."""
        return list(dict.fromkeys(cell.scenario for cell in self.cells))

    @cached_property
    def num_seeds(self) -> int:
        """Seeds of each stream."""
        return len({cell.seed for cell in self.cells})

    def results(self, scenario: Scenario, arm: Arm, budget: float) -> list[Result]:
        """Return one result a seed; none where the arm is not defined or was not run."""
        found = self._results.get(self._key(scenario, arm, budget), [])
        return [] if any(result["undefined"] for result in found) else found

    def values(self, scenario: Scenario, arm: Arm, budget: float, measure: Measure = progressive_auc) -> Doubles:
        """Return a measure of each seed, shape [S], or nothing."""
        return np.array([measure(result) for result in self.results(scenario, arm, budget)])

    def difference(
        self, scenario: Scenario, arm: Arm, other: Arm, budget: float, measure: Measure = progressive_auc
    ) -> Difference | None:
        """Return arm minus other; None where one is not defined."""
        own, others = (self.values(scenario, each, budget, measure) for each in (arm, other))
        if not len(own) or not len(others) or np.isnan(own).any():
            return None
        gained = own - others
        return Difference(paired_interval(gained, _SEED), signed_rank_p(gained), mean_p(gained))

    def recovered(self, scenario: Scenario, arm: Arm, full: Arm, budget: float) -> Interval | None:
        """Return the share of the gap between `uniform` and `full`; None where there is no gap or no arm."""
        own = self.values(scenario, arm, budget)
        if not len(own):
            return None
        low, high = self.values(scenario, UNIFORM, budget), self.values(scenario, full, budget)
        return recovered_fraction(own, low, high, _SEED)

    def over_time(self, scenario: Scenario, arm: Arm, other: Arm, budget: float) -> Interval | None:
        """Return arm minus other on a log, averaged over seeds, its interval by blocks of time."""
        own, others = (self.results(scenario, each, budget) for each in (arm, other))
        if not own or not others:
            return None
        gained = np.mean([result["ordered"] for result in own], axis=0)
        gained -= np.mean([result["ordered"] for result in others], axis=0)
        return block_interval(gained, own[0]["pairs"], TABLE["logs"]["block_rounds"], _SEED)

    def adjusted(self, arms: Iterable[Arm], other: Arm, streams: Iterable[str], test: str) -> dict[Key, float]:
        """Return Holm's p of every arm, stream and budget together, by the named test of `Difference`."""
        named = set(streams)
        found = {
            self._key(scenario, arm, budget): getattr(difference, test)
            for budget in TABLE["grid"]["budgets"]
            for arm in arms
            for scenario in self.scenarios
            if scenario.name in named and (difference := self.difference(scenario, arm, other, budget))
        }
        return dict(zip(found, holm(list(found.values())), strict=True))

    def _key(self, scenario: Scenario, arm: Arm, budget: float) -> Key:
        return scenario.name, arm.name, budget if arm.fixed is None else arm.fixed
