"""`millstream`: one command line for everything that runs and everything an operator does."""

import logging
import sys

import typer
from kafka.errors import KafkaError

from deploy.commands import audit, backtest, demo, doctor, kafka, models, processes, shop, topics, trainer, tune
from stream.error_line import error_line
from stream.logs import configure_logging

CONFIGURATION_ERROR = 2
"""Exit status when a setting, an argument or the surroundings are wrong: nothing was done."""

app = typer.Typer(
    name="millstream",
    help="Keep a click-through-rate model fresh on a live click stream.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(kafka.app, name="kafka")
app.add_typer(topics.app, name="topics")
doctor.register(app)
processes.register(app)
app.add_typer(trainer.app, name="trainer")
app.add_typer(models.app, name="models")
shop.register(app)
audit.register(app)
demo.register(app)
backtest.register(app)
tune.register(app)


def main() -> None:
    """Run the command line; an error becomes one line on stderr and exit status 2."""
    configure_logging("millstream", level="WARNING")
    logging.getLogger("kafka").setLevel(logging.ERROR)
    try:
        app()
    except (ValueError, RuntimeError, KafkaError, OSError) as error:
        sys.stderr.write(f"millstream: {error_line(error)}\n")
        sys.exit(CONFIGURATION_ERROR)
