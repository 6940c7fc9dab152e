"""`millstream demo`: the whole loop, as separate processes, with a live view and a report."""

from pathlib import Path
from typing import Annotated

import typer

FAILED = 1

app = typer.Typer()


@app.command()
def demo(
    minutes: Annotated[float, typer.Option(min=1.0, help="Time for all of it, from start to report.")] = 4.0,
    strategy: Annotated[str, typer.Option(help="Importance strategy.")] = "gradnorm_is",
    budget: Annotated[float, typer.Option(min=0.001, max=1.0, help="Expected share of rows that are learned.")] = 0.5,
    trainer: Annotated[bool, typer.Option(help="Whether to learn at all.")] = True,
    log: Annotated[Path | None, typer.Option(help="A recorded log instead of the simulated shop.")] = None,
    rate: Annotated[float, typer.Option(min=1.0, help="Impressions per second.")] = 170.0,
    report: Annotated[Path, typer.Option(help="Directory of summary.json and auc.png.")] = Path("demo-report"),
) -> None:
    """Run Kafka, stream, scorer, evaluator, trainer and a shop, and show how the model follows the clicks.

    Example: millstream demo --minutes 4

    Example: millstream demo --log clicks.jsonl.gz --minutes 10
    """
    from rich.console import Console

    from deploy.demo.options import DemoOptions
    from stream.cluster.admin import require_cluster
    from stream.settings import KafkaSettings

    if "bootstrap" in KafkaSettings().model_fields_set:
        require_cluster(KafkaSettings())
    options = DemoOptions(
        minutes=minutes, strategy=strategy, budget=budget, trainer=trainer, log=log, rate=rate, report=report
    )
    from deploy.demo.run import Demo

    if not Demo(options, Console()).run():
        raise typer.Exit(FAILED)
