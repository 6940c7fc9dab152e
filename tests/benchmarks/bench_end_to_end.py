"""The end-to-end benchmark: `make bench`, or `python -m tests.benchmarks.bench_end_to_end`.

Two hundred labeled impressions a second for three minutes through join, scorer, evaluator and trainer together, gate
on, default model, strategy and budget, on real Kafka: a demo at a fixed rate, its lag measured along the way.
Writes tests/benchmarks/results/end_to_end_<year><month>.md.
"""

import json
import os
import platform
import sys
import time
from importlib.metadata import version
from pathlib import Path

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


def main() -> int:
    """Run the benchmark and write its results; exit 1 if a process failed or a record was lost."""
    os.environ["MILLSTREAM_SCORER_FROZEN_SHARE"] = str(FROZEN_SHARE)
    report = Path("bench-report")
    options = DemoOptions(
        minutes=(STREAM_SECONDS + OVERHEAD_SECONDS) / 60,
        strategy="gradnorm_is",
        budget=0.5,
        trainer=True,
        log=None,
        rate=RATE,
        report=report,
    )
    probe = LagProbe()
    sound = Demo(options, Console(), observe=probe).run()
    summary = json.loads((report / "summary.json").read_text())
    end = probe.samples[-1][0]
    early, late = probe.mean_lag(50, 70), probe.mean_lag(end - 20, end)
    lines = [
        "# End to end: join, scorer, evaluator and trainer together",
        "",
        f"Command: `make bench`. Date: {time.strftime('%Y-%m-%d', time.gmtime())}. {platform.python_implementation()} "
        f"{platform.python_version()}, {os.cpu_count()} cores, {_processor()}.",
        f"Versions: {', '.join(f'{name} {version(name)}' for name in LIBRARIES)}; Apache Kafka on the same cores.",
        f"Setting: {RATE:g} impressions/s offered for {STREAM_SECONDS:.0f} s, one-layer MiniLM, gradnorm_is, "
        f"budget 0.5, gate on, frozen share {FROZEN_SHARE}, one thread a process; one run.",
        "",
        "| what | measured | target |",
        "|---|---|---|",
        f"| labeled impressions/s | {summary['impressions_per_second']} | at least 200 |",
        f"| CTR | {summary['ctr']} | 0.10 to 0.20 |",
        *(
            f"| lag of {group}, 50 to 70 s, last 20 s (records) | {early[group]:.0f}, {late[group]:.0f} | no growth |"
            for group in READERS
        ),
        f"| swaps | {summary['swaps']} | at least 30 |",
        f"| freshness p50 (s) | {summary['freshness_p50_seconds']} | - |",
        f"| freshness p95 (s) | {summary['freshness_p95_seconds']} | at most 15 |",
        f"| memory of our processes, peak of the sum (MiB) | {summary['peak_memory_mib']} | under 4096 |",
        f"| memory of Kafka, peak (MiB) | {probe.kafka_memory_mib:.0f} | under 614 |",
        f"| conservation exact | {summary['conservation_exact']} | true |",
        f"| failed processes | {summary['failed_processes']} | 0 |",
        f"| AUC live / frozen / best, last third | {summary['auc_live_late']} / {summary['auc_frozen_late']} / "
        f"{summary['auc_best_possible_late']} | - |",
        "",
    ]
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"end_to_end_{time.strftime('%Y%m', time.gmtime())}.md"
    path.write_text("\n".join(lines))
    print("\n".join(lines))  # noqa: T201
    return 0 if sound else 1


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    bf16 = "avx512_bf16" if any("avx512_bf16" in line for line in lines) else "no avx512_bf16"
    return f"{names[0] if names else platform.processor()}, {bf16}"


if __name__ == "__main__":
    sys.exit(main())
