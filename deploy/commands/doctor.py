"""`millstream doctor`: is everything there, and if not, what to do."""

import json
from typing import Annotated

import typer

FAILED = 1

_MARKS = {"ok": "ok  ", "warn": "warn", "fail": "FAIL"}

app = typer.Typer()


@app.command()
def doctor(as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False) -> None:
    """Check settings, disk, Java, codecs, Kafka, topics, model and ports; exit status 1 if something fails.

    Example: millstream doctor
    """
    from dataclasses import asdict

    from deploy.doctor import examine

    findings = examine()
    if as_json:
        typer.echo(json.dumps({"findings": [asdict(finding) for finding in findings]}, indent=2))
    else:
        for finding in findings:
            remedy = f"; {finding.remedy}" if finding.remedy else ""
            typer.echo(f"{_MARKS[finding.state]}  {finding.subject:10} {finding.what}{remedy}")
    if any(finding.state == "fail" for finding in findings):
        raise typer.Exit(FAILED)
