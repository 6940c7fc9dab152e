"""`millstream`: one command line for everything that runs and everything an operator does."""

import logging
import os
import sys
from importlib import import_module, metadata
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
app.add_typer(kafka.app, name="kafka")
app.add_typer(topics.app, name="topics")
doctor.register(app)
config.register(app)
processes.register(app)
app.add_typer(trainer.app, name="trainer")
app.add_typer(models.app, name="models")
shop.register(app)
audit.register(app)
demo.register(app)
backtest.register(app)
tune.register(app)


def _show_version(asked: bool) -> None:
    if asked:
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
    # By name: help needs neither the settings nor a client of Kafka, which take their time to import.
    import_module("stream.process.logs").configure_logging("millstream", level="WARNING")
    logging.getLogger("kafka").setLevel(logging.ERROR)
    if context.invoked_subcommand != "doctor":  # it reports what is wrong among its other findings
        import_module("stream.configuration.setting_names").check_settings()


def main() -> None:
    """Run the command line; an error becomes one line on stderr and exit status 2."""
    os.environ.update(safe_environment())
    try:
        app()
    except Exception as error:  # noqa: BLE001 (it tells expected errors from faults, and raises these again)
        import_module("stream.process.start").end_with("millstream", error)
