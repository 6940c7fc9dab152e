"""The scoring processes: `python -m scorer`, `python -m scorer evaluator`, `python -m scorer serve` (HTTP)."""

import sys
from importlib import import_module

from stream.process.start import REFUSED, require_cluster, start_process

# Modules are loaded by name, so that the evaluator loads neither torch nor Faust, and the others only for a cluster.


def run_scorer() -> None:
    """Run the scorer until it is told to stop."""
    require_cluster()
    import_module("scorer.scoring.agent").run()


def run_evaluator() -> None:
    """Run the evaluator until it is told to stop."""
    import_module("scorer.evaluator.process").run()


def run_service() -> None:
    """Run the HTTP service until it is told to stop."""
    require_cluster()
    import_module("scorer.serving.app").run()


PROCESSES = {
    "": ("scorer", run_scorer),
    "evaluator": ("evaluator", run_evaluator),
    "serve": ("service", run_service),
}
"""Name of each process and what runs it, by its argument."""


def main(arguments: list[str]) -> None:
    """Run the process that the arguments name.

    Raises:
        SystemExit: with one line that says what is wrong, if it cannot start.
    """
    process = " ".join(arguments)
    if process not in PROCESSES:
        sys.stderr.write(
            f"scorer: unknown process {process!r}; use `python -m scorer`, alone or with `evaluator` or `serve`\n"
        )
        sys.exit(REFUSED)
    start_process(*PROCESSES[process])


if __name__ == "__main__":
    main(sys.argv[1:])
