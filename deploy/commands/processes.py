"""The long-running processes: each is run in this process, so signals and exit status are the process's own."""

from importlib import import_module

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


def become(package: str, *arguments: str) -> None:
    """Run the process of a package until it is told to stop.

    By its entry function: `python -m` would run a file of that name in the current directory first.
    """
    import_module(f"{package}.__main__").main(list(arguments))
