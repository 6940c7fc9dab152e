"""The production processes a demo runs, and how it talks to them."""

import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from deploy.demo.options import WARM_ROWS, DemoOptions
from deploy.local_kafka.broker import free_port
from stream.disk.directory_lock import LOCK_FILE
from stream.disk.state_home import place_of

WINDOW_SECONDS = 3.0
QUIET_SECONDS = 6.0
"""Shorter than production's: the shop runs beside its broker, so a silence this long is the end of the stream."""

SERVICES = {
    "stream": ["stream"],
    "scorer": ["scorer"],
    "evaluator": ["scorer", "evaluator"],
    "trainer": ["trainer"],
}
"""Arguments of `python -m` by process, in the order data flows through them."""


@dataclass(frozen=True)
class Workspace:
    """Where a demo keeps what it makes.

    Attributes:
        root: Everything below is removed when the next demo starts.
    """

    root: Path

    def clear(self) -> None:
        """Remove what an earlier demo left, but for the lock that this one holds."""
        for path in self.root.iterdir():
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            elif path.name != LOCK_FILE:
                path.unlink()

    @property
    def registry(self) -> Path:
        """The model registry."""
        return place_of("registry", self.root)

    @property
    def trainer(self) -> Path:
        """The trainer's checkpoints, plans and ledger."""
        return place_of("trainer", self.root)

    @property
    def history(self) -> Path:
        """The shop's history, as a log of our own events."""
        return self.root / "history.parquet"

    @property
    def ledger(self) -> Path:
        """The producer's ledger."""
        return self.root / "producer-ledger.parquet"

    @property
    def logs(self) -> Path:
        """A log file of each process."""
        return self.root / "logs"


def demo_environment(options: DemoOptions, workspace: Workspace, bootstrap: str, prefix: str) -> dict[str, str]:
    """Return the settings of every process of a demo."""
    environment = {
        "MILLSTREAM_HOME": str(workspace.root),
        "MILLSTREAM_KAFKA_BOOTSTRAP": bootstrap,
        "MILLSTREAM_KAFKA_TOPIC_PREFIX": prefix,
        "MILLSTREAM_JOIN_WINDOW_SECONDS": str(WINDOW_SECONDS),
        "MILLSTREAM_JOIN_QUIET_SECONDS": str(QUIET_SECONDS),
        # One producer sends in order, and the shop's prompt clicks end half a second before the window does.
        "MILLSTREAM_JOIN_LATENESS_SECONDS": "0",
        "MILLSTREAM_SCORER_STRATEGY": options.strategy,
        "MILLSTREAM_SCORER_BUDGET": str(options.budget),
        "MILLSTREAM_SHOP_RATE": str(options.rate),
        # Every second row judges the frozen version too: few enough to be cheap, enough for a narrow comparison.
        "MILLSTREAM_SCORER_FROZEN_SHARE": os.environ.get("MILLSTREAM_SCORER_FROZEN_SHARE", "0.5"),
        # Four processes on two cores: a second thread in any of them would only wait for the others.
        "OMP_NUM_THREADS": "1",
        "OMP_WAIT_POLICY": "PASSIVE",
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }
    if options.turn_seconds is not None:
        environment["MILLSTREAM_SHOP_TURN_SECONDS"] = str(options.turn_seconds)
    return environment


def shop_arguments(options: DemoOptions, workspace: Workspace) -> list[str]:
    """Return the arguments of `python -m` that play the simulated shop, or the log after its warm-start rows."""
    if options.log:
        # So fast that the rate alone decides when a row is played.
        arguments = ["deploy", "replay", str(options.log), "--skip", str(WARM_ROWS), "--speed", "1e9"]
    else:
        arguments = ["deploy", "simulate", "--history-rows", str(WARM_ROWS)]
    played = ["--limit", str(options.num_impressions), "--rate", f"{options.rate:g}"]
    return [*arguments, *played, "--ledger", str(workspace.ledger)]


def metrics_ports(processes: Iterable[str]) -> dict[str, int]:
    """Return a free port for the metrics of each process: another Millstream may be running on the usual ones."""
    return {process: free_port() for process in processes}


def port_environment(ports: Mapping[str, int], process: str) -> dict[str, str]:
    """Return the setting that gives a process its metrics port."""
    return {"MILLSTREAM_METRICS_PORT": str(ports[process])}
