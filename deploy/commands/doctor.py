"""`millstream doctor`: is everything there, and if not, what to do."""

from importlib import import_module
from typing import Any

import typer

FAILED = 1

_MARKS = {"ok": "ok  ", "warn": "warn", "fail": "FAIL"}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("doctor")(doctor)


def doctor() -> None:
    """Check Java, codecs, Kafka, topics, retention, model, ports and disk; exit status 1 if something fails.

    Example: millstream doctor
    """
    # Loaded by name: verifying a model needs torch, which takes seconds to import.
    findings: list[Any] = import_module("deploy.doctor").examine()
    for finding in findings:
        remedy = f"; {finding.remedy}" if finding.remedy else ""
        typer.echo(f"{_MARKS[finding.state]}  {finding.subject:10} {finding.what}{remedy}")
    if any(finding.state == "fail" for finding in findings):
        raise typer.Exit(FAILED)
