"""The demo's story: prepare, start, stream, drain, audit, report."""

import os
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack

import numpy as np
from rich.console import Console
from rich.table import Table

from deploy.audit.report import AuditReport
from deploy.audit.run import run_audit
from deploy.demo.cluster import READERS, demo_cluster, wait_until_drained
from deploy.demo.options import WARM_ROWS, DemoOptions
from deploy.demo.processes import (
    SERVICES,
    Workspace,
    demo_environment,
    metrics_ports,
    port_environment,
    shop_arguments,
)
from deploy.demo.report import RunFacts, summarise, worth_of_retraining, write_report
from deploy.demo.result import read_result
from deploy.demo.supervisor import MIB, ProcessFailedError, Supervisor
from deploy.watch.reading import Reading
from deploy.watch.scrape import Scrape, scrape
from deploy.watch.terminal import live_view
from scorer.importance.strategies import build_strategy
from stream.cluster.admin import apply_topics
from stream.disk.directory_lock import directory_lock
from stream.disk.state_home import place_of
from stream.play.recorded_log import read_log
from stream.process.signals import stop_on_signals
from stream.settings import KafkaSettings
from stream.simulator.settings import ShopSettings
from stream.simulator.simulation import write_history

READY_SECONDS = 180.0


class Demo:
    """One run of the whole loop.

    Args:
        options: What to run.
        console: Where to show it.
        observe: Called about once a second while the stream flows, with its elapsed seconds.
    """

    def __init__(
        self, options: DemoOptions, console: Console, observe: Callable[[float], None] = lambda _elapsed: None
    ) -> None:
        self._options = options
        self._console = console
        self._observe = observe
        self._workspace = Workspace(place_of("demo"))
        self._services = [name for name in SERVICES if options.trainer or name != "trainer"]
        self._ports = metrics_ports([*self._services, "shop"])
        self._stop = threading.Event()

    def run(self) -> bool:
        """Run all of it and return whether every process ended well and nothing was lost.

        SIGINT and SIGTERM end the stream early; what is under way is drained, audited and reported all the same.

        Raises:
            DirectoryBusyError: another demo runs here.
            ValueError: there is no such log or strategy; nothing was started.
        """
        self._check_options()
        busy = "wait for the other demo to end, or set MILLSTREAM_HOME to another directory"
        with stop_on_signals(self._stop), ExitStack() as held:
            held.enter_context(directory_lock(self._workspace.root, busy))
            self._workspace.clear()
            bootstrap = held.enter_context(demo_cluster(place_of("kafka", self._workspace.root)))
            prefix = f"demo-{int(time.time())}."
            environment = demo_environment(self._options, self._workspace, bootstrap, prefix)
            os.environ.update(environment)
            kafka = KafkaSettings()
            apply_topics(kafka)
            with Supervisor(self._workspace.logs, environment) as supervisor:
                try:
                    return self._stages(kafka, supervisor)
                except ProcessFailedError as error:
                    self._console.print(f"[red]{error}[/red]", highlight=False)
                    return False

    def _check_options(self) -> None:
        """Refuse now what a process would refuse after a minute of starting others."""
        build_strategy(self._options.strategy, self._options.budget)
        if self._options.log is not None:
            for _first in read_log(self._options.log, click_delay_seconds=1.0, limit=1):
                break

    def _stages(self, kafka: KafkaSettings, supervisor: Supervisor) -> bool:
        self._say("Kafka is up; version 1 learns from the past")
        # They import torch while version 1 learns; the trainer alone needs the line that is being made.
        self._start([name for name in self._services if name != "trainer"], supervisor)
        self._warm_start(supervisor)
        self._start([name for name in self._services if name == "trainer"], supervisor)
        self._wait_for_services(supervisor)
        if self._stop.is_set():
            self._say("stopped before the stream began")
            return True
        self._say(
            f"{self._options.num_impressions:,} impressions at {self._options.rate:g}/s; logs: {self._workspace.logs}"
        )
        last = self._stream(supervisor)
        self._say("the stream has ended; waiting until everything is labeled, scored and learned")
        left = wait_until_drained(kafka, [group for group in READERS if group in self._services])
        last = scrape(self._ports) if self._services else last
        supervisor.sample_memory()
        supervisor.stop()
        if any(left.values()):
            self._say(f"not drained: {left}")
        audit = run_audit(kafka, self._workspace.trainer, self._workspace.ledger)
        self._report(kafka, audit, last, supervisor)
        return audit.exact and not supervisor.failed

    def _warm_start(self, supervisor: Supervisor) -> None:
        supervisor.run("models-init", ["deploy", "models", "init"])
        past = self._options.log
        if past is None:
            past = self._workspace.history
            write_history(ShopSettings(), WARM_ROWS, past)
        supervisor.run("warm-start", ["deploy", "models", "warm-start", str(past), "--limit", str(WARM_ROWS)])

    def _start(self, services: list[str], supervisor: Supervisor) -> None:
        for name in services:
            supervisor.start(name, SERVICES[name], port_environment(self._ports, name))

    def _wait_for_services(self, supervisor: Supervisor) -> None:
        deadline = time.monotonic() + READY_SECONDS
        ports = {name: self._ports[name] for name in self._services}
        while (missing := scrape(ports).missing) and time.monotonic() < deadline:
            supervisor.check()
            time.sleep(0.2)
        if missing:
            message = f"{', '.join(sorted(missing))} showed no metrics within {READY_SECONDS:.0f} s"
            raise ProcessFailedError(message)

    def _stream(self, supervisor: Supervisor) -> Scrape:
        """Play the shop or the log, and show what happens until it ends or a signal comes."""
        arguments = shop_arguments(self._options, self._workspace)
        shop = supervisor.start("shop", arguments, port_environment(self._ports, "shop"))
        started, reading, last = time.monotonic(), None, Scrape()
        with live_view(self._console, "Millstream demo") as show:
            while shop.process.poll() is None:
                supervisor.check()
                supervisor.sample_memory()
                last = scrape(self._ports)
                reading = Reading.from_scrape(last, time.monotonic() - started, reading)
                show(reading)
                self._observe(reading.elapsed_seconds)
                if self._stop.is_set() and "shop" not in last.missing:
                    supervisor.stop("shop")
                elif self._stop.wait(1.0):
                    # It drains on SIGTERM only once it shows metrics; before, it would die of it.
                    time.sleep(0.2)
        supervisor.check()
        return last

    def _report(self, kafka: KafkaSettings, audit: AuditReport, last: Scrape, supervisor: Supervisor) -> None:
        result = read_result(kafka, self._workspace.ledger)
        facts = RunFacts(
            turn_seconds=self._options.turn_seconds,
            updates=int(last.total("millstream_trainer_updates_total")),
            versions_promoted=result.promoted,
            versions_held=int(last.total("millstream_trainer_gate_decisions_total", decision="hold")),
            swaps=result.swaps,
            freshness_seconds=np.array(result.freshness_seconds),
            peak_memory_mib=supervisor.peak_memory_bytes / MIB,
            failed_processes=len(supervisor.failed),
        )
        summary = summarise(result.rows, audit, facts)
        write_report(self._options.report, result.rows, summary, facts.turn_seconds)
        table = Table(title="Millstream demo", show_header=False)
        for name, value in summary.items():
            table.add_row(name, _shown(value))
        self._console.print(table)
        for problem in audit.problems:
            self._console.print(f"[red]audit: {problem}[/red]", highlight=False)
        self._say(worth_of_retraining(result.rows).sentence)
        self._say(f"curves: {self._options.report / 'auc.png'}   numbers: {self._options.report / 'summary.json'}")

    def _say(self, text: str) -> None:
        self._console.print(f"[bold]demo:[/bold] {text}", highlight=False, soft_wrap=True)


def _shown(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
