"""The scoring processes: `python -m scorer`, `python -m scorer evaluator`, `python -m scorer serve` (HTTP)."""

import sys
from importlib import import_module

from kafka.errors import KafkaError

from stream.releases import ReleasesUnavailableError
from stream.topic_admin import ClusterError

PROCESSES = {"": "scorer.agent", "evaluator": "scorer.evaluator", "serve": "scorer.service"}
"""Module of each process, by its argument. Loaded by name, so that the evaluator loads neither torch nor Faust."""


def run_scorer() -> None:
    """Run the scorer until it is told to stop."""
    _run("")


def run_evaluator() -> None:
    """Run the evaluator until it is told to stop."""
    _run("evaluator")


def run_service() -> None:
    """Run the HTTP service until it is told to stop."""
    _run("serve")


def _run(process: str) -> None:
    import_module(PROCESSES[process]).run()


def main(arguments: list[str]) -> None:
    """Run the process that the arguments name.

    Raises:
        SystemExit: with one line that says what is wrong, if it cannot start.
    """
    process = " ".join(arguments)
    if process not in PROCESSES:
        sys.exit(f"scorer: unknown process {process!r}; use `python -m scorer`, or with `evaluator` or `serve`")
    try:
        _run(process)
    except (ValueError, ReleasesUnavailableError, ClusterError, KafkaError) as error:
        sys.exit(f"{process or 'scorer'}: {error}")


if __name__ == "__main__":
    main(sys.argv[1:])
