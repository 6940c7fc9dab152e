"""`millstream audit`: the proof that nothing was lost and nothing was taught twice."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from deploy.audit.report import AuditReport

NOT_EXACT = 1

app = typer.Typer()


@app.command()
def audit(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    trainer_dir: Annotated[Path | None, typer.Option(help="The trainer's state; its own directory by default.")] = None,
    ledger: Annotated[Path | None, typer.Option(help="A producer's ledger to compare with.")] = None,
) -> None:
    """Follow every id from event to learned row and prove the conservation law; exit status 1 if it does not hold.

    Example: millstream audit --ledger ledger.parquet
    """
    from dataclasses import asdict

    import msgspec
    from rich.console import Console

    from stream.cluster.admin import require_cluster
    from stream.disk.state_home import place_of
    from stream.settings import KafkaSettings

    require_cluster(KafkaSettings())
    from deploy.audit.run import run_audit

    report = run_audit(KafkaSettings(), trainer_dir or place_of("trainer"), ledger)
    if as_json:
        fields = asdict(report) | {"waiting": report.waiting, "exact": report.exact}
        typer.echo(msgspec.json.format(msgspec.json.encode(fields), indent=2).decode())
    else:
        print_report(report, Console(soft_wrap=True, highlight=False))
    if not report.exact:
        raise typer.Exit(NOT_EXACT)


def print_report(report: "AuditReport", console: "Console") -> None:
    """Print every term, every law and every problem."""
    from rich.table import Table

    terms = Table("term", "distinct ids", box=None)
    terms.columns[1].justify = "right"
    for name, value in report.terms().items():
        terms.add_row(name.replace("_", " "), f"{value:,}")
    console.print(terms)
    for law, left, right in report.laws():
        console.print(f"{'holds ' if left == right else 'BROKEN'}  {law}  ({left:,} = {right:,})", markup=False)
    if report.counted_from:
        places = ", ".join(f"partition {number} offset {offset}" for number, offset in report.counted_from.items())
        console.print(f"counted from {places} of events on: retention has deleted outcomes of what is older")
    for problem in report.problems:
        console.print(f"problem: {problem}", markup=False)
    console.print("exact" if report.exact else "NOT exact")
