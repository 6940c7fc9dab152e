"""The long-running processes: each replaces this process, so signals and exit status are the process's own."""

import os
import sys

import typer


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("stream")(stream)
    app.command("adapter")(adapter)
    app.command("scorer")(scorer)
    app.command("evaluator")(evaluator)
    app.command("serve")(serve)


def stream() -> None:
    """Run a label-join worker: events in, labeled impressions out.

    Example: MILLSTREAM_JOIN_WINDOW_SECONDS=600 millstream stream
    """
    become("stream")


def adapter() -> None:
    """Run an adapter worker: foreign topics in, events out, by the mapping file of its settings.

    Example: MILLSTREAM_ADAPTER_MAPPING=mapping.toml millstream adapter
    """
    become("stream", "adapter")


def scorer() -> None:
    """Run a scorer: labeled impressions in, weighted examples out.

    Example: MILLSTREAM_SCORER_BUDGET=0.3 millstream scorer
    """
    become("scorer")


def evaluator() -> None:
    """Run the evaluator: AUC, calibration and drift by role, as metrics.

    Example: millstream evaluator
    """
    become("scorer", "evaluator")


def serve() -> None:
    """Run the HTTP service that scores and ranks.

    Example: MILLSTREAM_SERVICE_PORT=8081 millstream serve
    """
    become("scorer", "serve")


def become(module: str, *arguments: str) -> None:
    """Replace this process by `python -m module arguments`."""
    os.execv(sys.executable, [sys.executable, "-m", module, *arguments])
