"""`millstream topics`: the topics of the topic table, on the cluster."""

import typer

from stream.settings import JoinSettings, KafkaSettings
from stream.topic_admin import apply_topics, check_topics
from stream.topics import topic_table

DIFFERENT = 1

app = typer.Typer(help="Create and check Millstream's topics.", no_args_is_help=True, rich_markup_mode=None)


@app.command()
def apply() -> None:
    """Create the topics that are missing; existing ones are left as they are.

    Example: MILLSTREAM_KAFKA_PARTITIONS=8 millstream topics apply
    """
    kafka = KafkaSettings()
    created = apply_topics(kafka)
    for name in created:
        typer.echo(f"created {name}")
    if not created:
        typer.echo(
            f"all {len(topic_table(kafka))} topics exist; 'millstream topics check' compares their configuration"
        )


@app.command()
def check() -> None:
    """Compare partitions, configuration and retention with the topic table; exit status 1 if something differs.

    Example: millstream topics check
    """
    kafka = KafkaSettings()
    problems = check_topics(kafka, JoinSettings())
    for problem in problems:
        typer.echo(str(problem))
    if problems:
        raise typer.Exit(DIFFERENT)
    typer.echo(f"all {len(topic_table(kafka))} topics are as they should be")
