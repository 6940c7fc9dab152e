"""The long-running processes: each is run in this process, so signals and exit status are the process's own.

By its entry function: `python -m` would run a file of that name in the current directory first.
"""

import typer

app = typer.Typer()


@app.command()
def stream() -> None:
    """Run a label-join worker: events in, labeled impressions out.

    Example: MILLSTREAM_JOIN_WINDOW_SECONDS=600 millstream stream
    """
    from stream.__main__ import main

    main([])


@app.command()
def adapter() -> None:
    """Run an adapter worker: foreign topics in, events out, by the mapping file of its settings.

    Example: MILLSTREAM_ADAPTER_MAPPING=mapping.toml millstream adapter
    """
    from stream.__main__ import main

    main(["adapter"])


@app.command()
def scorer() -> None:
    """Run a scorer: labeled impressions in, weighted examples out.

    Example: MILLSTREAM_SCORER_BUDGET=0.3 millstream scorer
    """
    from scorer.__main__ import main

    main([])


@app.command()
def evaluator() -> None:
    """Run the evaluator: AUC, calibration and drift by role, as metrics.

    Example: millstream evaluator
    """
    from scorer.__main__ import main

    main(["evaluator"])


@app.command()
def serve() -> None:
    """Run the HTTP service that scores and ranks.

    Example: MILLSTREAM_SERVICE_PORT=8081 millstream serve
    """
    from scorer.__main__ import main

    main(["serve"])
