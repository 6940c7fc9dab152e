"""`millstream kafka`: a local Kafka for a first try, the demo and the tests."""

import json
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from deploy.local_kafka.broker import LocalKafka
    from stream.settings import KafkaSettings

NOT_RUNNING = 3

app = typer.Typer(
    name="kafka", help="Start, stop and look at a Kafka on this machine.", no_args_is_help=True, rich_markup_mode=None
)


@app.command()
def up(
    port: Annotated[
        int | None,
        typer.Option(min=1, max=65535, help="Port on 127.0.0.1; by default that of MILLSTREAM_KAFKA_BOOTSTRAP."),
    ] = None,
) -> None:
    """Start a local Kafka and wait until it answers; does nothing if one runs or the settings name a cluster.

    Example: millstream kafka up && millstream topics apply
    """
    from deploy.local_kafka.broker import cluster_answers
    from stream.cluster.admin import connect_admin
    from stream.settings import KafkaSettings

    kafka = KafkaSettings()
    here = _port_here(kafka)
    if here is None:
        connect_admin(kafka).close()
        typer.echo(f"the settings name a cluster, {kafka.bootstrap}; it answers, none is started")
        return
    running = _local_kafka(here).status()
    broker = _local_kafka(port or (int(running.bootstrap.rpartition(":")[2]) if running else here))
    if running is None and cluster_answers(broker.bootstrap):
        typer.echo(f"a Kafka that is not ours answers on {broker.bootstrap}; none is started")
    else:
        started = broker.start()
        state = "answers" if started else "was running already"
        typer.echo(f"Kafka {state} on {broker.bootstrap}; logs: {broker.logs}")
    if broker.bootstrap != f"127.0.0.1:{here}":
        typer.echo(f"For the other commands: export MILLSTREAM_KAFKA_BOOTSTRAP={broker.bootstrap}")


@app.command()
def down() -> None:
    """Stop the local Kafka; its data stays. Does nothing if none runs.

    Example: millstream kafka down
    """
    typer.echo("Kafka is stopped; its data stays" if _local_kafka().stop() else "no local Kafka was running")


@app.command()
def status(as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False) -> None:
    """Say whether Kafka answers: exit status 0 if it does, 3 if it does not.

    Example: millstream kafka status || millstream kafka up
    """
    from dataclasses import asdict

    from stream.cluster.admin import ClusterError, connect_admin
    from stream.settings import KafkaSettings

    kafka = KafkaSettings()
    found = None if _port_here(kafka) is None else _local_kafka().status()
    problem = None
    if found is None:
        try:
            connect_admin(kafka).close()
        except ClusterError as error:
            problem = str(error)
    if as_json:
        told = {"answers": problem is None, "problem": problem, "bootstrap": kafka.bootstrap}
        typer.echo(json.dumps(told | (asdict(found) if found else {}), indent=2))
    elif found is not None:
        memory = f"{found.memory_bytes / 2**20:.0f} MiB resident"
        typer.echo(f"Kafka answers on {found.bootstrap}: pid {found.pid}, {memory}")
    else:
        typer.echo(problem or f"the cluster that the settings name, {kafka.bootstrap}, answers")
    if problem:
        raise typer.Exit(NOT_RUNNING)


def _local_kafka(port: int | None = None) -> "LocalKafka":
    from deploy.local_kafka.broker import LocalKafka
    from stream.configuration.ports import KAFKA_PORT
    from stream.disk.state_home import place_of

    return LocalKafka(place_of("kafka"), port or KAFKA_PORT)


def _port_here(kafka: "KafkaSettings") -> int | None:
    """Return the port if the settings name, or leave, a Kafka that may be started here; None for one elsewhere."""
    host, _, port = kafka.bootstrap.rpartition(":")
    return int(port) if host in {"127.0.0.1", "localhost"} and kafka.security_protocol == "PLAINTEXT" else None
