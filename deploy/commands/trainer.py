"""`millstream trainer`: the process that keeps learning, and its switch."""

from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from trainer.promotion.commands import Action

REFUSED = 1

app = typer.Typer(
    name="trainer", help="Run, pause and resume the trainer.", no_args_is_help=True, rich_markup_mode=None
)


@app.command()
def run() -> None:
    """Run the trainer: weighted examples in, judged model versions out.

    Example: MILLSTREAM_TRAINER_UPDATE_ROWS=1024 millstream trainer run
    """
    from trainer.__main__ import main

    main([])


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
    from stream.cluster.admin import require_cluster
    from stream.settings import KafkaSettings

    require_cluster(KafkaSettings())
    from deploy.model_operations import skip_lost_examples

    typer.echo(skip_lost_examples())


def ask_trainer(action: "Action", *, version: str | None = None, restart_from: str | None = None) -> None:
    """Send a command to the trainer and show its answer; exit status 1 if it refuses.

    Raises:
        NoAnswerError: The trainer does not answer.
    """
    from stream.cluster.admin import require_cluster
    from stream.settings import KafkaSettings
    from trainer.promotion.commands import send_command

    require_cluster(KafkaSettings())
    answer = send_command(KafkaSettings(), action, version=version, restart_from=restart_from)
    typer.echo(answer.message)
    if not answer.done:
        raise typer.Exit(REFUSED)
