"""`millstream simulate` and `millstream replay`: where events come from when there is no shop."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from stream.play.player import PlayerOptions
    from stream.play.producer import ProducerCounts
    from stream.simulator.settings import ShopSettings

Limit = Annotated[int | None, typer.Option(min=1, help="Impressions to play; no limit by default.")]
Seconds = Annotated[float | None, typer.Option(min=0.001, help="Stop after so many seconds.")]
Json = Annotated[bool, typer.Option("--json", help="Print the counts as one JSON object.")]
Ledger = Annotated[Path | None, typer.Option(help="Parquet file of the producer's ledger.")]

FAILED = 1

app = typer.Typer()


@app.command("simulate")
def simulate_shop(
    rate: Annotated[float | None, typer.Option(min=0.001, help="Impressions per second.")] = None,
    limit: Limit = None,
    seconds: Seconds = None,
    ledger: Ledger = None,
    history_rows: Annotated[int, typer.Option(min=0, help="Impressions of the past to go on from.")] = 0,
    write_past: Annotated[
        Path | None, typer.Option(help="Write the past to this log (.parquet, .jsonl, .jsonl.gz), and play nothing.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Play a simulated shop: users with tastes that drift, delayed clicks, bots and broken events.

    Example: millstream simulate --rate 200 --limit 24000

    Example: millstream simulate --history-rows 4000 --write-past past.parquet
    """
    from stream.cluster.admin import require_cluster
    from stream.settings import KafkaSettings, MetricsSettings
    from stream.simulator.settings import ShopSettings
    from stream.simulator.simulation import simulate, write_history

    settings = ShopSettings() if rate is None else ShopSettings(rate=rate)
    if write_past is not None:
        typer.echo(f"wrote {write_history(settings, history_rows, write_past)} events to {write_past}")
        return
    options = _options("simulate", ledger, rate=settings.rate, seconds=seconds, limit=limit)
    require_cluster(KafkaSettings())
    settings = _fitted(settings, options.window_seconds)
    counts = simulate(settings, KafkaSettings(), MetricsSettings(), options, history_rows=history_rows)
    _show(counts, options.ledger, as_json=as_json)


@app.command("replay")
def replay_log(
    log: Annotated[Path, typer.Argument(help="A recorded log: .jsonl, .jsonl.gz or .parquet.")],
    speed: Annotated[float, typer.Option(min=0.001, help="Seconds of the log per second.")] = 1.0,
    rate: Annotated[float | None, typer.Option(min=0.001, help="Most impressions per second.")] = None,
    limit: Limit = None,
    skip: Annotated[int, typer.Option(min=0, help="Impressions to leave out at the start.")] = 0,
    seconds: Seconds = None,
    click_delay: Annotated[float, typer.Option(min=0, help="Seconds from a positive row to its click.")] = 1.0,
    ledger: Ledger = None,
    skip_bad_lines: Annotated[bool, typer.Option(help="Leave out and count unusable lines.")] = False,
    as_json: Json = False,
) -> None:
    """Play a recorded log through Kafka as if it happened now.

    Example: millstream replay clicks.jsonl.gz --speed 1000 --rate 300 --limit 50000
    """
    from stream.play.replay import ReplayOptions, replay
    from stream.settings import KafkaSettings, MetricsSettings

    options = _options("replay", ledger, rate=rate, seconds=seconds, limit=limit)
    played = ReplayOptions(click_delay_seconds=click_delay, speed=speed, skip=skip, skip_bad_lines=skip_bad_lines)
    counts = replay(log, KafkaSettings(), MetricsSettings(), options, played)
    _show(counts, options.ledger, as_json=as_json)


def _options(
    command: str, ledger: Path | None, *, rate: float | None, seconds: float | None, limit: int | None
) -> "PlayerOptions":
    from stream.disk.state_home import place_of
    from stream.play.player import PlayerOptions
    from stream.settings import JoinSettings

    return PlayerOptions(
        window_seconds=JoinSettings().window_seconds,
        ledger=ledger or place_of("ledgers") / f"{command}.parquet",
        rate=rate,
        seconds=seconds,
        total=limit,
    )


def _fitted(settings: "ShopSettings", window_seconds: float) -> "ShopSettings":
    """Return a shop without late clicks where the window is longer than the delay that nobody chose for them.

    They would have to come after the window: with the default one, half an hour after the last impression.
    """
    if "late_click_seconds" in settings.model_fields_set or window_seconds < settings.late_click_seconds:
        return settings
    typer.echo(
        f"no late clicks: the attribution window is {window_seconds:g} s; they come with a shorter "
        "MILLSTREAM_JOIN_WINDOW_SECONDS or a longer MILLSTREAM_SHOP_LATE_CLICK_SECONDS",
        err=True,
    )
    return settings.model_copy(update={"late_click_share": 0.0, "late_click_seconds": 2 * window_seconds})


def _show(counts: "ProducerCounts", ledger: Path, *, as_json: bool) -> None:
    """Print the counts; a record that Kafka did not confirm makes the exit status 1."""
    import msgspec

    told = msgspec.structs.asdict(counts) | {"ledger": str(ledger)}
    if as_json:
        typer.echo(msgspec.json.format(msgspec.json.encode(told), indent=2).decode())
    else:
        for name, value in told.items():
            typer.echo(f"{name.replace('_', ' '):22} {'-' if value is None else value}")
    if counts.failed:
        raise typer.Exit(FAILED)
