"""`millstream trainer`: the process that keeps learning, and its switch."""

from importlib import import_module
from typing import TYPE_CHECKING

import typer

from deploy.commands.cluster import require_cluster
from deploy.commands.processes import become

if TYPE_CHECKING:
    from trainer.promotion.commands import Action

REFUSED = 1

app = typer.Typer(help="Run, pause and resume the trainer.", no_args_is_help=True, rich_markup_mode=None)


@app.command()
def run() -> None:
    """Run the trainer: weighted examples in, judged model versions out.

    Example: MILLSTREAM_TRAINER_UPDATE_ROWS=1024 millstream trainer run
    """
    become("trainer")


@app.command()
def pause() -> None:
    """Stop learning after the update that runs; the scorers serve on.

    Example: millstream trainer pause
    """
    ask_trainer("pause")


@app.command()
def resume() -> None:
    """Go on learning where the pause began.

    Example: millstream trainer resume
    """
    ask_trainer("resume")


@app.command()
def skip_lost() -> None:
    """Go on at what retention has left, when it deleted examples before the stopped trainer learned them.

    Example: millstream trainer skip-lost && millstream trainer run
    """
    require_cluster()
    # Loaded by name: checkpoints need torch, which takes seconds to import.
    typer.echo(import_module("deploy.model_operations").skip_lost_examples())


def ask_trainer(action: "Action", *, version: str | None = None, restart_from: str | None = None) -> None:
    """Send a command to the trainer and show its answer; exit status 1 if it refuses.

    Raises:
        NoAnswerError: The trainer does not answer.
    """
    from stream.settings import KafkaSettings
    from trainer.promotion.commands import send_command

    require_cluster()
    answer = send_command(KafkaSettings(), action, version=version, restart_from=restart_from)
    typer.echo(answer.message)
    if not answer.done:
        raise typer.Exit(REFUSED)
