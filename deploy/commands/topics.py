"""`millstream topics`: the topics of the topic table, on the cluster."""

import json
from typing import Annotated

import typer

DIFFERENT = 1

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]

app = typer.Typer(
    name="topics", help="Create and check Millstream's topics.", no_args_is_help=True, rich_markup_mode=None
)


@app.command()
def apply(as_json: Json = False) -> None:
    """Create the topics that are missing; existing ones are left as they are.

    Example: MILLSTREAM_KAFKA_PARTITIONS=8 millstream topics apply
    """
    from stream.cluster.admin import apply_topics
    from stream.settings import KafkaSettings
    from stream.topics import topic_table

    kafka = KafkaSettings()
    created = apply_topics(kafka)
    topics = [topic.name for topic in topic_table(kafka).values()]
    if as_json:
        typer.echo(json.dumps({"topics": topics, "created": created}, indent=2))
        return
    for name in created:
        typer.echo(f"created {name}")
    if not created:
        typer.echo(f"all {len(topics)} topics exist; 'millstream topics check' compares their configuration")


@app.command()
def check(as_json: Json = False) -> None:
    """Compare partitions, configuration and retention with the topic table; exit status 1 if something differs.

    Example: millstream topics check
    """
    from dataclasses import asdict

    from stream.cluster.admin import check_topics
    from stream.settings import JoinSettings, KafkaSettings
    from stream.topics import topic_table

    kafka = KafkaSettings()
    problems = check_topics(kafka, JoinSettings())
    topics = [topic.name for topic in topic_table(kafka).values()]
    if as_json:
        listed = [asdict(problem) for problem in problems]
        typer.echo(json.dumps({"topics": topics, "problems": listed}, indent=2))
    else:
        for problem in problems:
            typer.echo(str(problem))
        if not problems:
            typer.echo(f"all {len(topics)} topics are as they should be")
    if problems:
        raise typer.Exit(DIFFERENT)
