"""Writes tests/benchmarks/results/importance_202611.md, .csv and .json from the results that are there."""

import csv
import json
import os
import platform
import time
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path

from rich.console import Console

from scorer.measures.auc import Interval
from tests.benchmarks.importance import bert, phases, smaller_steps
from tests.benchmarks.importance.arms import (
    COMPARED,
    DELAYED,
    FULL,
    GRADNORM,
    HEADS,
    LCC,
    NEGDOWN,
    NO_UPDATE,
    ORACLE,
    PRIMARY,
    SECONDARY,
    UNIFORM,
    UNIFORM_CHARGED,
    Arm,
)
from tests.benchmarks.importance.cells import Cell
from tests.benchmarks.importance.design import DIGEST, HERE, TABLE, Scenario
from tests.benchmarks.importance.family import Family
from tests.benchmarks.importance.results import (
    calibration,
    clean_auc,
    normalized_entropy,
    progressive_auc,
    window_auc,
)
from tests.benchmarks.importance.tables import (
    at_each_budget,
    calibrations,
    differences,
    levels,
    logs_over_time,
    recovered,
    recovery,
    work,
)
from tests.benchmarks.importance.targets import checked

RESULTS = HERE.parent / "results"
NAME = "importance_202611"
READING = HERE / "reading.md"
LIBRARIES = ("numpy", "scipy", "torch")
BUDGETS = TABLE["grid"]["budgets"]
COLUMNS = (
    *("stream", "seed", "arm", "budget", "rate", "batch_rows", "undefined"),
    *("auc", "clean_auc", "lowest_window_auc", "normalized_entropy", "calibration"),
    *("rows", "clicks", "backward_rows", "forward_rows", "steps", "replaced_rows", "score_seconds", "learn_seconds"),
)
ALONE = (NO_UPDATE, FULL, ORACLE, UNIFORM, UNIFORM_CHARGED)


def write(console: Console) -> None:
    """Write the report of whatever has been run; phases without results are named as not run."""
    rates = phases.chosen_rates()
    families = {
        "primary": _family(phases.primary_cells(rates)),
        "per stream": _family(phases.per_stream_cells(rates)),
        "secondary": _family(phases.secondary_cells(rates)),
        "logs": _family(phases.log_cells(rates)),
        "smaller steps": _family(smaller_steps.report_cells(smaller_steps.chosen())),
    }
    lines = _head(families)
    parts = (_primary, _per_stream, _secondary, _logs, _smaller_steps)
    for (name, family), part in zip(families.items(), parts, strict=True):
        lines += part(family) if family else [f"## {name.capitalize()}", "", "Not run.", ""]
    lines += bert.section()
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{NAME}.md").write_text("\n".join(lines).rstrip() + "\n")
    _write_cells(_cells(families.values()), RESULTS / f"{NAME}.csv")
    found = {name: _statistics(family) for name, family in families.items() if family}
    (RESULTS / f"{NAME}.json").write_text(json.dumps(found, indent=1) + "\n")
    console.print(f"wrote {RESULTS / NAME}.md, .csv and .json", highlight=False)


def _family(cells: Iterable[Cell]) -> Family | None:
    """Return the family of the scenarios whose every cell has been run."""
    by_scenario: dict[Scenario, list[Cell]] = {}
    for cell in cells:
        by_scenario.setdefault(cell.scenario, []).append(cell)
    complete = [cell for group in by_scenario.values() if all(each.path.exists() for each in group) for cell in group]
    return Family(complete) if complete else None


def _cells(families: Iterable[Family | None]) -> list[Cell]:
    """Return every cell once; two families may share some."""
    return list(dict.fromkeys(cell for family in families if family for cell in family.cells))


def _head(families: dict[str, Family | None]) -> list[str]:
    cells = _cells(families.values())
    seconds = sum(cell.result()["seconds"] for cell in cells)
    primary = families["primary"]
    rows, training = TABLE["rows"], TABLE["training"]
    return [
        "# Importance: what each strategy gains over uniform sampling at the same backward rows",
        "",
        "Commands: `python -m tests.benchmarks.bench_importance tune --logs DIR` and `... tune-steps`, commit "
        "chosen.toml and chosen_steps.toml, then `python -m tests.benchmarks.bench_importance --logs DIR`. Every cell "
        "is in the .csv beside this file, every interval and p value in the .json.",
        f"Date: {time.strftime('%Y-%m-%d', time.gmtime())}. {platform.python_implementation()} "
        f"{platform.python_version()}, {', '.join(f'{name} {version(name)}' for name in LIBRARIES)}; {os.cpu_count()} "
        f"cores, {_processor()}, shared with other work. Design {DIGEST} (settings.toml, and the rates in chosen.toml, "
        "committed before the report's seeds ran).",
        f"{len(cells)} runs, {seconds / 60:.0f} minutes of processor time, one thread each.",
        "",
        "**Setting.** Simulated shop, "
        f"CTR {TABLE['shop']['ctr']:.0%}, {rows['live']:,} live rows after a warm start on {rows['history']:,} that "
        f"every arm shares; rounds of {training['update_rows']} rows, scored first, then weighed in micro-batches of "
        f"{training['micro_batch_rows']}, then learned in steps of {training['batch_rows']} rows (AdamW, weight decay "
        f"{training['weight_decay']}, clipped at {training['max_gradient_norm']:g}, constant rate). The model is a bag "
        f"of words, {TABLE['model']['width']} dimensions a word, {TABLE['model']['hidden']} hidden units; no gate. "
        f"{primary.num_seeds if primary else 0} seeds of stream, initialisation, selection and order, shared by all "
        "arms. Each arm's learning rate is the best of the same grid on three other seeds, one rate for all four "
        "streams.",
        "",
        "**Measure.** Progressive AUC: the mean over rounds of the AUC inside a round (one model version each), "
        "weighted by its pairs. Differences are AUC points (hundredths), paired by seed, with 95 % percentile "
        "bootstrap intervals over seeds (on logs, over blocks of time); bold where the interval is clear of zero, * "
        "where Holm's p (paired t test, all arms and streams of both budgets) is below 0.05.",
        "",
        *READING.read_text().splitlines(),
        "",
        *(checked(primary, families["logs"], families["smaller steps"]) if primary else []),
    ]


def _primary(family: Family) -> list[str]:
    learners = [arm for arm in PRIMARY if arm.learns and arm not in (FULL, UNIFORM)]
    lines = ["## Primary family: same backward rows, scoring shared", ""]
    lines += at_each_budget(differences, family, (*COMPARED, HEADS, UNIFORM_CHARGED, FULL, NO_UPDATE), UNIFORM)
    lines += ["## Against negative downsampling", ""]
    lines += at_each_budget(differences, family, [arm for arm in COMPARED if arm is not NEGDOWN], NEGDOWN)
    lines += ["## Scores averaged over the heads of five rounds, against those of one", ""]
    lines += at_each_budget(differences, family, [HEADS], GRADNORM)
    lines += [
        "## Scoring charged",
        "",
        "Against `uniform_charged`, which learns a third of a row more for every row scored: what an arm is worth "
        "where nobody needed the scores anyway.",
        "",
    ]
    lines += at_each_budget(differences, family, COMPARED, UNIFORM_CHARGED)
    lines += ["## Share of the gap between uniform and full that an arm recovers", ""]
    lines += at_each_budget(recovered, family, learners)
    lines += ["## AUC, mean ± standard deviation over seeds", ""]
    lines += at_each_budget(levels, family, (*ALONE, *COMPARED))
    lines += ["## Differences in the AUC against true probabilities", "", "The same, without the luck of labels.", ""]
    lines += at_each_budget(differences, family, COMPARED, UNIFORM, measure=clean_auc)
    lines += ["## Normalized entropy / mean score over CTR / AUC against true probabilities", ""]
    lines += at_each_budget(calibrations, family, (*ALONE, *COMPARED))
    turn = int(TABLE["streams"]["sudden"]["turn_seconds"] * TABLE["shop"]["rate"] / TABLE["training"]["update_rows"])
    lines += [
        "## Rounds to recover from the sudden turn",
        "",
        "Until the trailing 5-round mean of the AUC against true probabilities is 95 % of the way from where `full` "
        "fell to where it ends; a run that never gets there counts with all rounds that were left.",
        "",
        *recovery(family, [arm for arm in PRIMARY if arm.learns], turn),
        "## Work, means over streams and seeds",
        "",
    ]
    lines += at_each_budget(work, family, (*ALONE, *COMPARED))
    return lines


def _per_stream(family: Family) -> list[str]:
    return [
        "## Rates chosen for each stream",
        "",
        "A check that was added after the primary family had run: the same arms and seeds, but each arm at the rate "
        "that is best for the stream on development seeds, as if somebody knew beforehand how tastes will drift.",
        "",
        *at_each_budget(differences, family, (*COMPARED, UNIFORM_CHARGED, FULL, NO_UPDATE), UNIFORM),
        *at_each_budget(recovered, family, [GRADNORM, LCC, NEGDOWN, UNIFORM_CHARGED]),
        *at_each_budget(levels, family, (*ALONE, *COMPARED)),
    ]


def _secondary(family: Family) -> list[str]:
    """Return the cells beside the primary family; those with late clicks have arms of their own."""
    on_time = Family(cell for cell in family.cells if not cell.scenario.delay_rounds)
    late = [cell for cell in family.cells if cell.scenario.delay_rounds]
    lines = [
        f"## Secondary: sudden drift at other click rates and with flipped labels, {family.num_seeds} seeds",
        "",
        "ctr_N: N % clicks. flips_3: 3 % of labels flipped in what is learned; judged by the true ones. Rates are "
        "those of the primary family.",
        "",
    ]
    arms = [arm for arm in SECONDARY if arm is not UNIFORM]
    lines += at_each_budget(differences, on_time, arms, UNIFORM)
    lines += at_each_budget(calibrations, on_time, SECONDARY)
    if late:
        lines += [
            "## Secondary: clicks known two rounds late",
            "",
            "`uniform`, `gradnorm_is` and `full` wait for the label; `uniform_early` and `delay_fnw` learn every row "
            "as not clicked at once and every click again when it is known.",
            "",
        ]
        lines += at_each_budget(differences, Family(late), [arm for arm in DELAYED if arm is not UNIFORM], UNIFORM)
        lines += at_each_budget(calibrations, Family(late), DELAYED)
    return lines


def _logs(family: Family) -> list[str]:
    lines = [
        f"## Real logs, {family.num_seeds} seeds of initialisation, selection and order",
        "",
        "Upworthy: real impressions, 1.6 % clicked, in the order of their headline tests. MovieTweetings: the label is "
        "a rating of 8 or more, **not** a click, and half of all. Intervals are by moving blocks of "
        f"{TABLE['logs']['block_rounds']} rounds, of the mean over seeds: one log is one sample. Learning rates were "
        "chosen on leading rows that are not reported, where these tell rates apart (MovieTweetings). Tables of work "
        "are means over the logs on which an arm is defined.",
        "",
    ]
    arms = (*COMPARED, UNIFORM_CHARGED, FULL, NO_UPDATE)
    lines += at_each_budget(logs_over_time, family, arms)
    lines += at_each_budget(levels, family, [arm for arm in (*ALONE, *COMPARED) if arm is not ORACLE])
    lines += at_each_budget(work, family, [arm for arm in (*ALONE, *COMPARED) if arm is not ORACLE])
    return lines


def _smaller_steps(family: Family) -> list[str]:
    others = [arm for arm in smaller_steps.ARMS if arm is not UNIFORM]
    return [
        f"## Follow-up: every arm at its own best step size, {family.num_seeds} seeds that no other part ran",
        "",
        "Declared after the primary family had been reported (smaller_steps.toml), to see whether the gap that it "
        "leaves is a matter of its one step size of 32 rows: each arm takes the pair of step size and learning rate "
        "that is best on the development seeds, one pair for all four streams (chosen_steps.toml).",
        "",
        *at_each_budget(differences, family, others, UNIFORM),
        *at_each_budget(differences, family, [arm for arm in others if arm not in (FULL, NEGDOWN)], NEGDOWN),
        *at_each_budget(recovered, family, [arm for arm in others if arm is not FULL]),
        *at_each_budget(levels, family, smaller_steps.ARMS),
        *at_each_budget(calibrations, family, smaller_steps.ARMS),
        *at_each_budget(work, family, smaller_steps.ARMS),
    ]


def _write_cells(cells: list[Cell], path: Path) -> None:
    least = TABLE["windows"]["clicks"]
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for cell in cells:
            result = cell.result()
            row = [cell.scenario.name, cell.seed, cell.arm.name, cell.budget, cell.rate, cell.batch_rows]
            row.append(result["undefined"] or "")
            if not result["undefined"]:
                measures = (progressive_auc, clean_auc, None, normalized_entropy, calibration)
                row += [
                    f"{(measure(result) if measure else window_auc(result, least).min()):.6f}" for measure in measures
                ]
                row += [result["rows"], sum(result["clicks"])]
                row += [result[name] for name in ("backward_rows", "forward_rows", "steps", "replaced")]
                row += [f"{result[name]:.3f}" for name in ("score_seconds", "learn_seconds")]
            writer.writerow(row)


def _statistics(family: Family) -> list[dict[str, object]]:
    """Return every difference to `uniform`, `negdown_offset` and `uniform_charged`."""
    return [
        {
            "stream": scenario.name,
            "arm": arm.name,
            "minus": other.name,
            "budget": budget,
            **_written(difference.interval),
            "signed_rank_p": difference.signed_rank,
            "t_p": difference.mean,
        }
        for scenario in family.scenarios
        for arm in _arms(family)
        for other in (UNIFORM, NEGDOWN, UNIFORM_CHARGED)
        for budget in BUDGETS
        if arm is not other and (difference := family.difference(scenario, arm, other, budget))
    ]


def _arms(family: Family) -> list[Arm]:
    return list(dict.fromkeys(cell.arm for cell in family.cells))


def _written(interval: Interval) -> dict[str, float]:
    return {name: round(value, 6) for name, value in vars(interval).items()}


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
