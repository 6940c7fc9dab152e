"""The targets that were set beforehand, each with what was measured."""

from collections.abc import Sequence

import numpy as np

from tests.benchmarks.importance.arms import COMPARED, FULL, GRADNORM, LCC, NEGDOWN, PRIMARY, SEED, UNIFORM, Arm
from tests.benchmarks.importance.design import TABLE
from tests.benchmarks.importance.family import Family
from tests.benchmarks.importance.tables import backward_deviation, points, table

_TARGETS = TABLE["targets"]
_BY_NAME = {arm.name: arm for arm in PRIMARY}
_CONFIRMED = tuple(_BY_NAME[name] for name in _TARGETS["confirmed_arms"])
_BUDGETS = TABLE["grid"]["budgets"]


def checked(family: Family, logs: Family | None, smaller_steps: Family | None) -> list[str]:
    """Return the table of targets; the follow-up answers the one that the primary family missed."""
    rows = [
        *_beats_uniform(family),
        *_does_no_harm(family),
        *_recovers(family),
        *(_recovers(smaller_steps, ", at its own best step size (follow-up)") if smaller_steps else []),
        *_against(family, _CONFIRMED, NEGDOWN),
        *_against(family, [GRADNORM], _BY_NAME["class_placebo"]),
        *_placebo(family),
        *_against(family, [SEED], UNIFORM),
        _same_rows(family),
    ]
    return ["## Targets", "", *table(["target", "where", "measured", "holds"], rows), *_logs(logs)]


def _beats_uniform(family: Family) -> list[list[str]]:
    streams = _TARGETS["confirmed_streams"]
    adjusted = family.adjusted(_CONFIRMED, UNIFORM, streams, "signed_rank")
    rows = []
    for budget in _BUDGETS:
        for arm in _CONFIRMED:
            for scenario in (scenario for scenario in family.scenarios if scenario.name in streams):
                interval = family.difference(scenario, arm, UNIFORM, budget).interval
                p = adjusted[scenario.name, arm.name, budget]
                rows.append(
                    [
                        f"{arm.name} beats uniform at the same backward rows",
                        f"{scenario.name}, {budget:.0%}",
                        f"{points(interval)}, Holm p {p:.3f} (signed rank, {len(adjusted)} tests)",
                        _word(interval.low > 0 and p < 0.05),
                    ]
                )
    return rows


def _does_no_harm(family: Family) -> list[list[str]]:
    scenario = next(scenario for scenario in family.scenarios if scenario.name == "stationary")
    rows = []
    for budget in _BUDGETS:
        for arm in _CONFIRMED:
            interval = family.difference(scenario, arm, UNIFORM, budget).interval
            target = f"{arm.name} does no harm: lower end above {100 * _TARGETS['no_harm']:g} points"
            holds = _word(interval.low > _TARGETS["no_harm"])
            rows.append([target, f"stationary, {budget:.0%}", points(interval), holds])
    return rows


def _recovers(family: Family, how: str = "") -> list[list[str]]:
    rows = []
    for budget in _BUDGETS:
        for arm in _CONFIRMED:
            for scenario in family.scenarios:
                share = family.recovered(scenario, arm, FULL, budget)
                measured = f"{share.estimate:.2f} [{share.low:.2f}, {share.high:.2f}]" if share else "no gap"
                aimed = share is not None and budget == _BUDGETS[-1]
                holds = _word(share.estimate >= _TARGETS["recovered"]) if aimed else "no target"
                target = f"{arm.name} recovers {_TARGETS['recovered']:.0%} of the gap from uniform to full{how}"
                rows.append([target, f"{scenario.name}, {budget:.0%}", measured, holds])
    return rows


def _against(family: Family, arms: Sequence[Arm], other: Arm) -> list[list[str]]:
    return [
        [
            f"{arm.name} against {other.name}",
            f"{budget:.0%}",
            "; ".join(
                f"{scenario.name} {points(difference and difference.interval)}"
                for scenario in family.scenarios
                for difference in [family.difference(scenario, arm, other, budget)]
            ),
            "reported, win or lose",
        ]
        for budget in _BUDGETS
        for arm in arms
    ]


def _placebo(family: Family) -> list[list[str]]:
    rows = []
    for budget in _BUDGETS:
        intervals = [
            family.difference(scenario, _BY_NAME["placebo"], UNIFORM, budget).interval for scenario in family.scenarios
        ]
        measured = "; ".join(
            f"{scenario.name} {points(interval)}"
            for scenario, interval in zip(family.scenarios, intervals, strict=True)
        )
        holds = _word(all(interval.low <= 0 for interval in intervals))
        rows.append(["placebo shows no gain over uniform", f"{budget:.0%}", measured, holds])
    return rows


def _same_rows(family: Family) -> list[str]:
    found = {
        f"{arm.name} {budget:.0%}": backward_deviation(family, arm, budget) for arm in COMPARED for budget in _BUDGETS
    }
    worst = max((name for name in found if not np.isnan(found[name])), key=lambda name: abs(found[name]))
    return [
        "backward rows agree with uniform's within 2 %",
        "every arm, stream and budget",
        f"largest deviation {found[worst]:+.1%} ({worst})",
        _word(abs(found[worst]) <= 0.02),
    ]


def _logs(logs: Family | None) -> list[str]:
    if logs is None:
        return ["Real logs: not run.", ""]
    rows = [
        [
            f"{arm.name} against uniform",
            f"{scenario.name}, {budget:.0%}",
            points(logs.over_time(scenario, arm, UNIFORM, budget)),
        ]
        for budget in _BUDGETS
        for scenario in logs.scenarios
        for arm in (GRADNORM, LCC, NEGDOWN)
    ]
    return table(["real logs (all arms below)", "where", "measured"], rows)


def _word(holds: bool) -> str:
    return "yes" if holds else "**missed**"
