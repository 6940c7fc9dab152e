"""`millstream config`: which settings hold, and why."""

import json
from dataclasses import asdict
from typing import Annotated

import typer

app = typer.Typer()


@app.command()
def config(
    changed: Annotated[bool, typer.Option("--changed", help="Only what is not at its default.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show every setting with its value and where it comes from: default, environment or file. Secrets are hidden.

    Example: millstream config --changed

    Example: MILLSTREAM_JOIN_WINDOW_SECONDS=600 millstream config --json
    """
    from deploy.effective_settings import effective_settings
    from stream.configuration.settings_file import settings_file
    from stream.disk.state_home import state_directory

    settings = [setting for setting in effective_settings() if not changed or setting.origin != "default"]
    file, home = settings_file(), state_directory()
    if as_json:
        listed = [asdict(setting) for setting in settings]
        typer.echo(json.dumps({"file": file and str(file), "home": str(home), "settings": listed}, indent=2))
        return
    typer.echo(f"file: {file or 'none; MILLSTREAM_CONFIG names one'}\nhome: {home}")
    for setting in settings:
        typer.echo(f"{setting.name}={_written(setting.value)}  ({setting.origin})")


def _written(value: object) -> str:
    """Return a value as one would write it in the environment."""
    if isinstance(value, list):
        return ",".join(map(str, value))
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)
