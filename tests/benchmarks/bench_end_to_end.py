"""The end-to-end benchmark: `make bench [RUNS=3]`, or `python -m tests.benchmarks.bench_end_to_end [--runs 3]`.

Two hundred labeled impressions a second for three minutes through join, scorer, evaluator and trainer together, gate
on, default model, strategy and budget, on real Kafka: a demo at a fixed rate, its lag measured along the way.
Writes tests/benchmarks/results/end_to_end_<year><month>.md.
"""

import argparse
import json
import os
import platform
import sys
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import psutil
from rich.console import Console

from deploy.demo.cluster import READERS, backlog
from deploy.demo.options import OVERHEAD_SECONDS, DemoOptions
from deploy.demo.run import Demo
from stream.settings import KafkaSettings

RATE = 210.0
STREAM_SECONDS = 190.0
FROZEN_SHARE = 0.25
LAG_EVERY_SECONDS = 5.0
RESULTS = Path(__file__).parent / "results"
LIBRARIES = ("torch", "transformers", "faust-streaming", "kafka-python", "pyarrow")


class LagProbe:
    """Reads every group's uncommitted records and Kafka's memory now and then."""

    def __init__(self) -> None:
        self.samples: list[tuple[float, dict[str, int]]] = []
        self.kafka_memory_mib = 0.0
        self._next = 0.0

    def __call__(self, elapsed_seconds: float) -> None:
        if elapsed_seconds < self._next:
            return
        self._next = elapsed_seconds + LAG_EVERY_SECONDS
        self.samples.append((elapsed_seconds, backlog(KafkaSettings(), list(READERS))))
        for process in psutil.process_iter(["cmdline"]):
            command = process.info["cmdline"] or []
            if "kafka.Kafka" in command and any(os.environ["MILLSTREAM_HOME"] in part for part in command):
                self.kafka_memory_mib = max(self.kafka_memory_mib, process.memory_info().rss / 2**20)

    def mean_lag(self, first_second: float, last_second: float) -> dict[str, float]:
        """Return the mean of the lag between two moments; a single look would catch a plan half filled."""
        chosen = [lag for second, lag in self.samples if first_second <= second <= last_second]
        return {group: sum(lag[group] for lag in chosen) / len(chosen) for group in READERS}


@dataclass(frozen=True)
class Measured:
    """One run: the demo's summary, and what the probe saw.

    Attributes:
        sound: Whether every process ended well and nothing was lost.
        summary: Content of summary.json.
        early: Mean lag of each group after the first minute.
        late: The same over the last 20 s.
        kafka_memory_mib: Peak of the broker's memory.
    """

    sound: bool
    summary: dict[str, Any]
    early: dict[str, float]
    late: dict[str, float]
    kafka_memory_mib: float


def main(arguments: list[str]) -> int:
    """Run the benchmark and write its results; exit 1 if a process failed or a record was lost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1, help="runs, for the spread; the table shows median, least, most")
    runs = [measure() for _ in range(parser.parse_args(arguments).runs)]
    text = report(runs)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"end_to_end_{time.strftime('%Y%m', time.gmtime())}.md").write_text(text)
    print(text)  # noqa: T201
    return 0 if all(run.sound for run in runs) else 1


def measure() -> Measured:
    """Run the demo once and return what was measured."""
    os.environ["MILLSTREAM_SCORER_FROZEN_SHARE"] = str(FROZEN_SHARE)
    directory = Path("bench-report")
    options = DemoOptions(
        minutes=(STREAM_SECONDS + OVERHEAD_SECONDS) / 60,
        strategy="gradnorm_is",
        budget=0.5,
        trainer=True,
        log=None,
        rate=RATE,
        report=directory,
    )
    probe = LagProbe()
    given = os.environ.copy()
    sound = Demo(options, Console(), observe=probe).run()
    end = probe.samples[-1][0]
    lags = probe.mean_lag(50, 70), probe.mean_lag(end - 20, end)
    # The demo puts its own cluster and directories into the environment; the next run needs them anew.
    os.environ.clear()
    os.environ.update(given)
    summary = json.loads((directory / "summary.json").read_text())
    return Measured(sound, summary, *lags, probe.kafka_memory_mib)


def report(runs: list[Measured]) -> str:
    """Return the results as Markdown: with several runs the median, and the least and the most in brackets."""

    def of(name: str) -> str:
        return _spread([float(run.summary[name]) for run in runs])

    lags = {
        group: (_spread([run.early[group] for run in runs], 0), _spread([run.late[group] for run in runs], 0))
        for group in READERS
    }
    lines = [
        "# End to end: join, scorer, evaluator and trainer together",
        "",
        f"Command: `make bench{f' RUNS={len(runs)}' if len(runs) > 1 else ''}`. "
        f"Date: {time.strftime('%Y-%m-%d', time.gmtime())}. {platform.python_implementation()} "
        f"{platform.python_version()}, {os.cpu_count()} cores, {_processor()}.",
        f"Versions: {', '.join(f'{name} {version(name)}' for name in LIBRARIES)}; Apache Kafka on the same cores.",
        f"Setting: {RATE:g} impressions/s offered for {STREAM_SECONDS:.0f} s, one-layer MiniLM, gradnorm_is, "
        f"budget 0.5, gate on, frozen share {FROZEN_SHARE}, one thread a process; {len(runs)} run(s)"
        f"{', median [least, most]' if len(runs) > 1 else ''}.",
        "",
        "| what | measured | target |",
        "|---|---|---|",
        f"| labeled impressions/s | {of('impressions_per_second')} | at least 200 |",
        f"| CTR | {of('ctr')} | 0.10 to 0.20 |",
        *(
            f"| lag of {group}, 50 to 70 s; last 20 s (records) | {early}; {late} | no growth |"
            for group, (early, late) in lags.items()
        ),
        f"| swaps | {of('swaps')} | at least 30 |",
        f"| freshness p50 (s) | {of('freshness_p50_seconds')} | - |",
        f"| freshness p95 (s) | {of('freshness_p95_seconds')} | at most 15 |",
        f"| memory of our processes, peak of the sum (MiB) | {of('peak_memory_mib')} | under 4096 |",
        f"| memory of Kafka, peak (MiB) | {_spread([run.kafka_memory_mib for run in runs], 0)} | under 614 |",
        f"| conservation exact | {all(run.summary['conservation_exact'] for run in runs)} | true |",
        f"| failed processes | {of('failed_processes')} | 0 |",
        f"| AUC live, last third | {of('auc_live_late')} | - |",
        f"| AUC frozen, last third | {of('auc_frozen_late')} | - |",
        f"| AUC best possible, last third | {of('auc_best_possible_late')} | - |",
        "",
    ]
    return "\n".join(lines)


def _spread(values: list[float], digits: int = 4) -> str:
    shown = [f"{round(value, digits):g}" for value in (median(values), min(values), max(values))]
    return shown[0] if len(values) == 1 else f"{shown[0]} [{shown[1]}, {shown[2]}]"


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    bf16 = "avx512_bf16" if any("avx512_bf16" in line for line in lines) else "no avx512_bf16"
    return f"{names[0] if names else platform.processor()}, {bf16}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
