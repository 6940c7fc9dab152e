"""The scoring processes: `python -m scorer`, `python -m scorer evaluator`, `python -m scorer serve` (HTTP)."""

import sys

from stream.cluster.admin import require_cluster
from stream.process.start import Process, start_one_of
from stream.settings import KafkaSettings

# Imported when a process runs: the evaluator needs neither torch nor Faust, and the others load them for a cluster.


def run_scorer(process: Process) -> None:
    """Run the scorer until it is told to stop."""
    require_cluster(KafkaSettings())
    from scorer.scoring.agent import run

    run(process)


def run_evaluator(process: Process) -> None:
    """Run the evaluator until it is told to stop."""
    from scorer.evaluator.process import run

    run(process)


def run_service(process: Process) -> None:
    """Run the HTTP service until it is told to stop."""
    require_cluster(KafkaSettings())
    from scorer.serving.app import run

    run(process)


def main(arguments: list[str]) -> None:
    """Run the process that the arguments name."""
    processes = {
        "": ("scorer", run_scorer),
        "evaluator": ("evaluator", run_evaluator),
        "serve": ("service", run_service),
    }
    start_one_of("scorer", processes, arguments)


if __name__ == "__main__":
    main(sys.argv[1:])
