"""The confirmation on BERT: what `millstream backtest` says of the arms in bert_arms.toml."""

import json

from scorer.measures.auc import Interval
from tests.benchmarks.importance.design import CACHE
from tests.benchmarks.importance.tables import points, table

SUMMARY = CACHE / "bert" / "summary.json"


def section() -> list[str]:
    """Return the section of the report, from the summary of the command at the top of bert_arms.toml."""
    if not SUMMARY.exists():
        return ["## BERT", "", "Not run; the command stands at the top of importance/bert_arms.toml.", ""]
    summary = json.loads(SUMMARY.read_text())
    uniform = next(arm for arm in summary["arms"] if arm["arm"] == "uniform")
    rows = []
    for arm in summary["arms"]:
        found = arm["difference_to_uniform"]
        by_seed = [
            f"{100 * (own['auc'] - other['auc']):+.2f}"
            for own, other in zip(arm["by_seed"], uniform["by_seed"], strict=True)
        ]
        rows.append(
            [
                arm["arm"],
                f"{arm['auc']:.4f}",
                points(Interval(**found)) if found else "-",
                "-" if arm is uniform else ", ".join(by_seed),
                f"{arm['normalized_entropy']:.3f} / {arm['calibration']:.3f}",
                f"{arm['backward_rows']:,.0f}",
            ]
        )
    stream = summary["stream"]
    return [
        f"## BERT: sudden drift, CTR {stream['shop']['ctr']:.0%}, {uniform['seeds']} seeds, budget 25 %",
        "",
        f"One-layer MiniLM with the default settings, no gate, {stream['warm_start_rows']:,} rows of warm start, "
        f"{summary['rows_scored']:,} scored, the turn half way; all arms at the default learning rate. The version "
        f"after the warm start has AUC {uniform['auc_frozen']:.4f}, the true probability {uniform['auc_limit']:.4f}. "
        f"Intervals: {summary['interval']['method']}.",
        "",
        *table(["arm", "AUC", "minus uniform", "by seed", "NE / calibration", "backward rows"], rows),
    ]
