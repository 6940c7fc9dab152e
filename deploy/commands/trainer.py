"""`millstream trainer`: the process that keeps learning, and its switch."""

import json
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from trainer.promotion.commands import Action

REFUSED = 1

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]

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
def pause(as_json: Json = False) -> None:
    """Stop learning after the update that runs; the scorers serve on.

    Example: millstream trainer pause
    """
    ask_trainer("pause", as_json=as_json)


@app.command()
def resume(as_json: Json = False) -> None:
    """Go on learning where the pause began.

    Example: millstream trainer resume
    """
    ask_trainer("resume", as_json=as_json)


@app.command()
def skip_lost(as_json: Json = False) -> None:
    """Go on at what retention has left, when it deleted examples before the stopped trainer learned them.

    Example: millstream trainer skip-lost && millstream trainer run
    """
    from stream.cluster.admin import require_cluster
    from stream.settings import KafkaSettings

    require_cluster(KafkaSettings())
    from deploy.model_operations import skip_lost_examples

    _show(skip_lost_examples(), done=True, as_json=as_json)


def ask_trainer(
    action: "Action", *, version: str | None = None, restart_from: str | None = None, as_json: bool = False
) -> None:
    """Send a command to the trainer and show its answer; exit status 1 if it refuses.

    Raises:
        NoAnswerError: The trainer does not answer.
    """
    from stream.cluster.admin import require_cluster
    from stream.settings import KafkaSettings
    from trainer.promotion.commands import send_command

    require_cluster(KafkaSettings())
    answer = send_command(KafkaSettings(), action, version=version, restart_from=restart_from)
    _show(answer.message, done=answer.done, as_json=as_json)
    if not answer.done:
        raise typer.Exit(REFUSED)


def _show(message: str, *, done: bool, as_json: bool) -> None:
    typer.echo(json.dumps({"done": done, "message": message}, indent=2) if as_json else message)
