"""`millstream`: one command line for everything that runs and everything an operator does."""

import logging
import os
import sys
from typing import Annotated

import typer

from deploy.commands import (
    audit,
    backtest,
    config,
    demo,
    doctor,
    kafka,
    models,
    processes,
    shop,
    topics,
    trainer,
    tune,
)
from deploy.safe_path import safe_environment

app = typer.Typer(
    name="millstream",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for module in (doctor, config, processes, shop, audit, demo, backtest, tune, kafka, topics, trainer, models):
    app.add_typer(module.app)

_LOG_NOTHING = {"config", "kafka", "topics"}
"""Commands that answer at once: they do without structlog, which with rich takes a seventh of their time to import."""


def _show_version(asked: bool) -> None:
    if asked:
        from importlib import metadata

        typer.echo(f"millstream {metadata.version('millstream')}")
        raise typer.Exit


@app.callback()
def prepare(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Keep a click-through-rate model fresh on a live click stream."""
    if "--help" in sys.argv:
        return
    if context.invoked_subcommand not in _LOG_NOTHING:
        from stream.process.logs import configure_logging

        configure_logging("millstream", level="WARNING")
    logging.getLogger("kafka").setLevel(logging.ERROR)
    from stream.configuration.setting_names import check_settings

    if context.invoked_subcommand != "doctor":  # it reports what is wrong among its other findings
        check_settings()


def main() -> None:
    """Run the command line; an error becomes one line on stderr and exit status 2."""
    os.environ.update(safe_environment())
    try:
        app()
    except Exception as error:  # noqa: BLE001 (it tells expected errors from faults, and raises these again)
        from stream.process.start import end_with

        end_with("millstream", error)
