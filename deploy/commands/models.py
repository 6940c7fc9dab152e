"""`millstream models`: model lines and their versions."""

import json
from pathlib import Path
from typing import Annotated

import typer

from deploy.commands.trainer import Json, ask_trainer

app = typer.Typer(
    name="models", help="Make, look at and move model versions.", no_args_is_help=True, rich_markup_mode=None
)


@app.command()
def init(
    force: Annotated[bool, typer.Option("--force", help="Replace the version that serves.")] = False,
) -> None:
    """Start a new model line: version 0 is a pretrained encoder with a zero head, and serves at once.

    Example: MILLSTREAM_MODEL_PRETRAINED=bert-base-uncased millstream models init
    """
    from stream.cluster.admin import require_cluster
    from stream.settings import KafkaSettings

    require_cluster(KafkaSettings())
    from deploy.model_operations import init_line

    typer.echo(init_line(force=force))


@app.command()
def warm_start(
    log: Annotated[Path, typer.Argument(help="A recorded log: .jsonl, .jsonl.gz or .parquet.")],
    limit: Annotated[int | None, typer.Option(min=1, help="Impressions to learn, from the first.")] = None,
    click_delay: Annotated[float, typer.Option(min=0, help="Seconds from a positive row to its click.")] = 1.0,
) -> None:
    """Teach the new line a recorded log; the result is version 1, which serves at once.

    Example: millstream models warm-start history.jsonl.gz --limit 100000
    """
    from stream.cluster.admin import require_cluster
    from stream.settings import KafkaSettings

    require_cluster(KafkaSettings())
    from deploy.model_operations import warm_start_line

    typer.echo(warm_start_line(log, limit=limit, click_delay_seconds=click_delay))


@app.command("list")
def list_versions(as_json: Json = False) -> None:
    """List the versions, oldest first, with parent, gate decision and aliases.

    Example: millstream models list
    """
    from deploy.model_listing import print_versions, versions_json

    if as_json:
        typer.echo(versions_json())
    else:
        print_versions()


@app.command()
def show(
    version: Annotated[
        str | None,
        typer.Argument(help="A version, as 'millstream models list' shows it; by default what serves."),
    ] = None,
    _as_json: Json = True,
) -> None:
    """Show the manifest of a version as JSON.

    Example: millstream models show

    Example: millstream models show 3f2a9c11-000007
    """
    from deploy.model_listing import manifest_json

    typer.echo(manifest_json(version))


@app.command("announce")
def announce_again() -> None:
    """Announce again what the registry says serves: after a lost topic, or when 'millstream doctor' finds them apart.

    Example: millstream models announce
    """
    from stream.cluster.admin import require_cluster
    from stream.settings import KafkaSettings

    require_cluster(KafkaSettings())
    from deploy.model_operations import announce_aliases

    for line in announce_aliases():
        typer.echo(f"announced: {line}")


@app.command()
def verify(
    version: Annotated[str | None, typer.Argument(help="A version; all when it is left out.")] = None,
    as_json: Json = False,
) -> None:
    """Compare every file of a version with its digest; exit status 1 if something is wrong.

    Example: millstream models verify
    """
    from deploy.model_operations import verify_versions

    problems = verify_versions(version)
    if as_json:
        typer.echo(json.dumps({"problems": problems}, indent=2))
    else:
        typer.echo("\n".join(problems) or "every file is what was published")
    if problems:
        raise typer.Exit(1)


@app.command()
def rollback(
    version: Annotated[
        str | None, typer.Argument(help="What shall serve; by default what served before, further back each time.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Serve an earlier version and stop promotions until 'millstream models resume'.

    Example: millstream models rollback 3f2a9c11-000007
    """
    ask_trainer("rollback", version=version, as_json=as_json)


@app.command()
def resume(
    restart_from: Annotated[str | None, typer.Option(help="Version whose weights the learner goes on from.")] = None,
    as_json: Json = False,
) -> None:
    """Allow promotions again after a rollback.

    Example: millstream models resume --restart-from 3f2a9c11-000007
    """
    ask_trainer("resume_promotions", restart_from=restart_from, as_json=as_json)


@app.command()
def prune(keep: Annotated[int, typer.Option(min=1, help="Newest versions to keep.")] = 20) -> None:
    """Delete old versions; what an alias points to and what the trainer stands on stay.

    Example: millstream models prune --keep 10
    """
    from deploy.model_operations import prune_versions

    removed = prune_versions(keep)
    typer.echo(f"removed {len(removed)} versions" + "".join(f"\n  {version}" for version in removed))
