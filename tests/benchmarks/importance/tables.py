"""Markdown tables of a family's results. Differences are in AUC points: hundredths of AUC."""

import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from scorer.measures.auc import Interval
from tests.benchmarks.importance.arms import FULL, UNIFORM, Arm
from tests.benchmarks.importance.design import TABLE
from tests.benchmarks.importance.family import Family, Measure
from tests.benchmarks.importance.results import (
    calibration,
    clean_auc,
    normalized_entropy,
    progressive_auc,
    recovery_rounds,
)

NOT_DEFINED = "not defined"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return a markdown table and an empty line."""
    lines = [f"| {' | '.join(row)} |" for row in (header, ["---"] * len(header), *rows)]
    return [*lines, ""]


def at_each_budget(build: Callable[..., list[str]], *arguments: object, **named: object) -> list[str]:
    """Return one table a budget."""
    return [line for budget in TABLE["grid"]["budgets"] for line in build(*arguments, budget, **named)]


def points(interval: Interval | None, *, starred: bool = False) -> str:
    """Return an AUC difference in points, bold when its interval is clear of zero."""
    if interval is None:
        return NOT_DEFINED
    estimate, low, high = (100 * value for value in (interval.estimate, interval.low, interval.high))
    text = f"{estimate:+.2f}{'*' if starred else ''}"
    clear = low > 0 or high < 0
    return f"{f'**{text}**' if clear else text} [{low:+.2f}, {high:+.2f}]"


def differences(
    family: Family, arms: Iterable[Arm], other: Arm, budget: float, measure: Measure = progressive_auc
) -> list[str]:
    """Return arm minus other, a column a stream; a star where Holm's p over all arms and streams is below 0.05."""
    arms = list(arms)
    names = [scenario.name for scenario in family.scenarios]
    adjusted = family.adjusted(arms, other, names, "mean")
    rows = []
    for arm in arms:
        row = [arm.name]
        for scenario in family.scenarios:
            difference = family.difference(scenario, arm, other, budget, measure)
            p = adjusted.get((scenario.name, arm.name, budget if arm.fixed is None else arm.fixed), 1.0)
            row.append(points(difference and difference.interval, starred=measure is progressive_auc and p < 0.05))
        rows.append(row)
    return table([f"minus {other.name}, budget {budget:.0%}", *names], rows)


def levels(family: Family, arms: Iterable[Arm], budget: float, measure: Measure = progressive_auc) -> list[str]:
    """Return the measure itself, mean and standard deviation over seeds."""
    rows = [
        [
            arm.name,
            *(
                f"{values.mean():.4f} ± {values.std(ddof=1):.4f}"
                if len(values := family.values(scenario, arm, budget, measure))
                else NOT_DEFINED
                for scenario in family.scenarios
            ),
        ]
        for arm in arms
    ]
    return table([f"budget {budget:.0%}", *(scenario.name for scenario in family.scenarios)], rows)


def recovered(family: Family, arms: Iterable[Arm], budget: float) -> list[str]:
    """Return the recovered share of the gap between `uniform` and `full`."""
    rows = []
    for arm in arms:
        row = [arm.name]
        for scenario in family.scenarios:
            share = family.recovered(scenario, arm, FULL, budget)
            row.append(f"{share.estimate:.2f} [{share.low:.2f}, {share.high:.2f}]" if share else "no gap or no arm")
        rows.append(row)
    return table([f"budget {budget:.0%}", *(scenario.name for scenario in family.scenarios)], rows)


def calibrations(family: Family, arms: Iterable[Arm], budget: float) -> list[str]:
    """Return normalized entropy and mean score / CTR, and the AUC against true probabilities."""
    rows = []
    for arm in arms:
        row = [arm.name]
        for scenario in family.scenarios:
            cells = [
                family.values(scenario, arm, budget, measure)
                for measure in (normalized_entropy, calibration, clean_auc)
            ]
            row.append(" / ".join(f"{values.mean():.3f}" for values in cells) if len(cells[0]) else NOT_DEFINED)
        rows.append(row)
    return table([f"budget {budget:.0%}", *(scenario.name for scenario in family.scenarios)], rows)


def work(family: Family, arms: Iterable[Arm], budget: float) -> list[str]:
    """Return what each arm did, over all streams and seeds."""
    rows = []
    for arm in arms:
        results = [result for scenario in family.scenarios for result in family.results(scenario, arm, budget)]
        if results:
            deviation = backward_deviation(family, arm, budget)
            rows.append(
                [
                    arm.name,
                    f"{np.mean([result['backward_rows'] for result in results]):,.0f}",
                    "-" if math.isnan(deviation) else f"{deviation:.1%}",
                    *(
                        f"{np.mean([result[name] for result in results]):,.{digits}f}"
                        for name, digits in (
                            ("forward_rows", 0),
                            ("steps", 0),
                            ("score_seconds", 2),
                            ("learn_seconds", 2),
                        )
                    ),
                    f"{np.mean([result['replaced'] / result['rows'] for result in results]):.1%}",
                ]
            )
    header = [
        f"budget {budget:.0%}",
        "backward rows",
        "largest deviation from uniform",
        "forward rows",
        "steps",
        "scoring s",
        "learning s",
        "rows left to uniform",
    ]
    return table(header, rows)


def backward_deviation(family: Family, arm: Arm, budget: float) -> float:
    """Return how far an arm's backward rows are from those of `uniform`: the mean over seeds, worst stream."""
    if arm.fixed is not None or arm.extra:
        return math.nan
    ratios = []
    for scenario in family.scenarios:
        own, others = (
            family.values(scenario, each, budget, lambda result: result["backward_rows"]) for each in (arm, UNIFORM)
        )
        if len(own):
            ratios.append(float(own.mean() / others.mean() - 1))
    return max(ratios, key=abs) if ratios else math.nan


def recovery(family: Family, arms: Iterable[Arm], turn: int) -> list[str]:
    """Return the rounds until an arm is back after the turn of the sudden stream."""
    scenario = next(scenario for scenario in family.scenarios if scenario.name == "sudden")
    full = family.results(scenario, FULL, 1.0)
    left = len(full[0]["pairs"]) - turn
    rows = []
    for arm in arms:
        row = [arm.name]
        for budget in TABLE["grid"]["budgets"]:
            results = family.results(scenario, arm, budget)
            rounds = [recovery_rounds(result, best, turn) for result, best in zip(results, full, strict=False)]
            reached = sum(each < left for each in rounds)
            row.append(f"{np.mean(rounds):.0f} ({reached}/{len(rounds)} came back)" if rounds else NOT_DEFINED)
        rows.append(row)
    return table(["arm", *(f"budget {budget:.0%}" for budget in TABLE["grid"]["budgets"])], rows)


def logs_over_time(family: Family, arms: Iterable[Arm], budget: float) -> list[str]:
    """Return each arm minus `uniform` on every log, its interval by blocks of time."""
    rows = [
        [
            arm.name,
            *(points(family.over_time(scenario, arm, UNIFORM, budget)) for scenario in family.scenarios),
        ]
        for arm in arms
    ]
    return table([f"minus uniform, budget {budget:.0%}", *(scenario.name for scenario in family.scenarios)], rows)
