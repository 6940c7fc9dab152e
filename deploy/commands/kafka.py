"""`millstream kafka`: a local Kafka for a first try, the demo and the tests."""

from typing import Annotated

import typer

from deploy.local_kafka import DEFAULT_PORT, LocalKafka
from stream.settings import KafkaSettings, state_directory
from stream.topic_admin import connect_admin

NOT_RUNNING = 3

app = typer.Typer(help="Start, stop and look at a Kafka on this machine.", no_args_is_help=True, rich_markup_mode=None)

Port = Annotated[int, typer.Option(min=1, max=65535, help="Port on 127.0.0.1.")]


@app.command()
def up(port: Port = DEFAULT_PORT) -> None:
    """Start a local Kafka and wait until it answers; does nothing if it runs.

    Example: millstream kafka up && millstream topics apply
    """
    kafka = KafkaSettings()
    if _is_named(kafka):
        connect_admin(kafka).close()
        typer.echo(
            f"MILLSTREAM_KAFKA_BOOTSTRAP names an existing cluster, {kafka.bootstrap}; it answers, none is started"
        )
        return
    broker = _local_kafka(port)
    started = broker.start()
    typer.echo(f"Kafka {'answers' if started else 'was running already'} on {broker.bootstrap}; logs: {broker.logs}")
    if broker.bootstrap != kafka.bootstrap:
        typer.echo(f"For the other commands: export MILLSTREAM_KAFKA_BOOTSTRAP={broker.bootstrap}")


@app.command()
def down() -> None:
    """Stop the local Kafka; its data stays. Does nothing if none runs.

    Example: millstream kafka down
    """
    typer.echo("Kafka is stopped; its data stays" if _local_kafka().stop() else "no local Kafka was running")


@app.command()
def status() -> None:
    """Say whether Kafka answers: exit status 0 if it does, 3 if it does not.

    Example: millstream kafka status || millstream kafka up
    """
    kafka = KafkaSettings()
    if _is_named(kafka):
        connect_admin(kafka).close()
        typer.echo(f"the cluster that MILLSTREAM_KAFKA_BOOTSTRAP names, {kafka.bootstrap}, answers")
        return
    found = _local_kafka().status()
    if found is None:
        typer.echo("no local Kafka answers; start one with 'millstream kafka up'")
        raise typer.Exit(NOT_RUNNING)
    typer.echo(f"Kafka answers on {found.bootstrap}: pid {found.pid}, {found.memory_bytes / 2**20:.0f} MiB resident")


def _local_kafka(port: int = DEFAULT_PORT) -> LocalKafka:
    return LocalKafka(state_directory() / "kafka", port)


def _is_named(kafka: KafkaSettings) -> bool:
    """Return whether the environment or the settings file names a cluster."""
    return "bootstrap" in kafka.model_fields_set
