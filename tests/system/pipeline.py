"""All of Millstream as real processes on a real Kafka, beside a shop that writes down what it sent."""

import json
import os
import signal
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, closing
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from kafka import KafkaProducer
from prometheus_client import CollectorRegistry
from typer.testing import CliRunner

from deploy.audit.report import AuditReport
from deploy.audit.run import run_audit
from deploy.cli import app
from deploy.demo.cluster import READERS, backlog
from deploy.demo.supervisor import Child, Supervisor
from deploy.local_kafka.broker import free_port
from deploy.watch.scrape import scrape
from stream.cluster.admin import apply_topics
from stream.cluster.log import LogRecord, TopicLog
from stream.events import Click, Impression, ModelRelease, WeightedExample, decode_release
from stream.example_batch import decode_examples
from stream.play.ledger import LedgerWriter
from stream.play.metrics import ShopMetrics
from stream.play.producer import EventProducer, EventRecord, record_of
from stream.settings import KafkaSettings
from stream.topics import TopicKind, topic_name
from tests.doubles import tiny_impression

PATIENCE_SECONDS = 120.0
"""Generous: a test that works never waits so long, whatever else the machine does."""

WINDOW_SECONDS = 2.0

PROCESSES = {
    "stream": ["stream"],
    "scorer": ["scorer"],
    "second-scorer": ["scorer"],
    "evaluator": ["scorer", "evaluator"],
    "trainer": ["trainer"],
    "service": ["scorer", "serve"],
}
"""Arguments of `python -m` by process."""

_SHOWS_PARTITIONS = {
    "stream": "millstream_stream_partitions_count",
    "scorer": "millstream_scorer_partitions_count",
    "second-scorer": "millstream_scorer_partitions_count",
}

_SETTINGS = {
    "MILLSTREAM_JOIN_WINDOW_SECONDS": f"{WINDOW_SECONDS:g}",
    # A busy machine may hold a producer up for a second or two, which must not look like silence.
    "MILLSTREAM_JOIN_QUIET_SECONDS": "3",
    "MILLSTREAM_TRAINER_UPDATE_ROWS": "64",
    "MILLSTREAM_TRAINER_UPDATE_SECONDS": "1",
    "MILLSTREAM_GATE_MIN_CLICKS": "10",
    "MILLSTREAM_EVALUATOR_EXPORT_SECONDS": "0.2",
    "MILLSTREAM_EVALUATOR_SNAPSHOT_SECONDS": "1",
    "MILLSTREAM_MODEL_DEVICE": "cpu",
    "OMP_NUM_THREADS": "1",
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
}


class Pipeline:
    """Processes, topics and directories of one run; leaving it ends every process.

    Args:
        bootstrap: host:port of the cluster.
        home: Private directory of the run.
        settings: Environment that differs from `_SETTINGS`.
    """

    def __init__(self, bootstrap: str, home: Path, settings: Mapping[str, str]) -> None:
        self.home = home
        self.kafka = KafkaSettings(bootstrap=bootstrap, topic_prefix=f"system-{uuid.uuid4().hex[:12]}.", partitions=2)
        self._service_port = free_port()
        self.environment = {
            **_SETTINGS,
            **settings,
            "MILLSTREAM_HOME": str(home),
            "MILLSTREAM_KAFKA_BOOTSTRAP": bootstrap,
            "MILLSTREAM_KAFKA_TOPIC_PREFIX": self.kafka.topic_prefix,
            "MILLSTREAM_KAFKA_PARTITIONS": str(self.kafka.partitions),
            "MILLSTREAM_SERVICE_PORT": str(self._service_port),
        }
        apply_topics(self.kafka)
        self._supervisor = Supervisor(home / "logs", self.environment)
        self._ports = {name: free_port() for name in [*PROCESSES, "shop"]}
        self._running: dict[str, Child] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._supervisor.stop()

    @property
    def trainer_directory(self) -> Path:
        """The trainer's state."""
        return self.home / "trainer"

    def command(self, *arguments: str, status: int = 0) -> str:
        """Run `millstream <arguments>` in this process, check its exit status and return what it prints."""
        result = CliRunner().invoke(app, arguments, env=self.environment, catch_exceptions=False)
        assert result.exit_code == status, result.output
        return result.output.strip()

    def start(self, *names: str, arguments: Sequence[str] = ()) -> None:
        """Start processes and return when all of them show metrics, and the workers have their partitions."""
        for name in names:
            slot = {
                "MILLSTREAM_METRICS_PORT": str(self._ports[name]),
                "MILLSTREAM_SCORER_INSTANCE": name,
            }
            self._running[name] = self._supervisor.start(name, arguments or PROCESSES[name], slot)
        for name in names:
            self.wait_until(lambda name=name: not scrape({name: self._ports[name]}).missing, f"{name} shows metrics")
        for name in names:
            if name in _SHOWS_PARTITIONS:
                self.wait_for(name, _SHOWS_PARTITIONS[name], 1)

    def play(self, *arguments: str) -> None:
        """Start `millstream simulate <arguments>`, which writes the producer's ledger at its end."""
        command = ["deploy", "simulate", "--ledger", str(self.home / "ledger.parquet"), *arguments]
        self.start("shop", arguments=command)

    def ask_service(self, path: str, body: bytes) -> dict[str, Any]:
        """Return what the HTTP service answers."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self._service_port}{path}", body, timeout=60) as response:
            return json.loads(response.read())

    def kill(self, name: str) -> None:
        """End a process at once, as `kill -9` does."""
        process = self._running.pop(name).process
        os.kill(process.pid, signal.SIGKILL)
        process.wait()

    def stop(self, *names: str) -> None:
        """Ask processes to end, and wait until they have, with exit status 0."""
        for name in names:
            process = self._running.pop(name).process
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE_SECONDS) == 0, self.log(name)

    def log(self, name: str) -> str:
        """Return the end of a process's log."""
        return (self.home / "logs" / f"{name}.log").read_text(errors="replace")[-4_000:]

    def metric(self, name: str, sample: str, **labels: str) -> float:
        """Return one sample of a process; 0 while it shows none."""
        return scrape({name: self._ports[name]}, timeout_seconds=10.0).get(sample, **labels) or 0.0

    def wait_for(self, name: str, sample: str, at_least: float, **labels: str) -> None:
        """Return when a sample of a process is so high."""
        self.wait_until(
            lambda: self.metric(name, sample, **labels) >= at_least,
            f"{name}: {sample}{labels or ''} >= {at_least}",
        )

    def wait_until(self, condition: Callable[[], bool], what: str) -> None:
        """Return when the condition holds; fail when a process ends before, or patience does."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not condition():
            for name, child in self._running.items():
                assert child.process.poll() in {None, 0}, f"{name} ended by itself:\n{self.log(name)}"
            assert time.monotonic() < deadline, f"waited {PATIENCE_SECONDS:.0f} s in vain: {what}"
            time.sleep(0.1)

    def drain(self) -> None:
        """Return when everything sent so far is labeled, scored and learned, as far as those processes run."""
        groups = [group for group in READERS if group in self._running]
        # One look goes down the stream: what a reader had settled is inside the topics that are looked at after it.
        self.wait_until(lambda: not any(backlog(self.kafka, groups).values()), f"{groups} have read everything")

    def audit(self, ledger: Path) -> AuditReport:
        """Return the audit against a producer's ledger."""
        return run_audit(self.kafka, self.trainer_directory, ledger)

    def records(self, kind: TopicKind) -> list[LogRecord]:
        """Return everything in a topic."""
        with closing(TopicLog(self.kafka)) as log:
            return list(log.records(kind, log.extent(kind)))

    def examples(self) -> dict[int, list[WeightedExample]]:
        """Return every weighted example by partition."""
        rows: dict[int, list[WeightedExample]] = {number: [] for number in range(self.kafka.partitions)}
        for record in self.records("weighted-examples"):
            rows[record.partition] += decode_examples(record.value)
        return rows

    def champions(self) -> list[ModelRelease]:
        """Return every release of the champion, oldest first."""
        releases = [decode_release(record.value) for record in self.records("model-releases")]
        return [release for release in releases if release.alias == "champion"]

    def write(self, kind: TopicKind, partition: int, values: Iterable[bytes]) -> None:
        """Write raw values to a topic, past the processes that usually do."""
        producer = KafkaProducer(**self.kafka.client_options(), acks="all")
        for value in values:
            producer.send(topic_name(kind, self.kafka), value=value, partition=partition).get(timeout=60)
        producer.close()


class BurstShop:
    """A shop that sends impressions in bursts: scarves are clicked, nothing else is.

    Event times lie in the recent past, so that nobody has to wait for a clock, and rise over all bursts.

    Args:
        pipeline: Where to send.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self._next = count()
        self._time_ms = int(time.time() * 1000) - 300_000
        self.ledger = pipeline.home / "burst-ledger.parquet"
        self._open = ExitStack()
        writer = self._open.enter_context(closing(LedgerWriter(self.ledger)))
        producer = EventProducer(pipeline.kafka, WINDOW_SECONDS, writer, ShopMetrics(CollectorRegistry()))
        self._producer = self._open.enter_context(closing(producer))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def impression(self, **changes: object) -> Impression:
        """Return the next impression."""
        self._time_ms += 5
        return tiny_impression(next(self._next), event_time_ms=self._time_ms, **changes)

    def show(self, number: int) -> list[str]:
        """Send a burst of impressions and their clicks, and return the ids of the impressions."""
        shown = [self.impression() for _ in range(number)]
        for impression in shown:
            self.send(record_of(impression, "impression"))
            if is_clicked(impression):
                self.send(record_of(click_on(impression), "click"))
        return [impression.impression_id for impression in shown]

    def pass_time(self, seconds: float) -> None:
        """Let event time go by."""
        self._time_ms += int(seconds * 1000)

    def send(self, record: EventRecord) -> None:
        """Send one record."""
        self._producer.send(record)

    def close(self) -> None:
        """Wait for every confirmation and finish the ledger."""
        self._open.close()


def is_clicked(impression: Impression) -> bool:
    """Return what every honest user of the burst shop does."""
    return "scarf" in impression.item_text


def click_on(impression: Impression, *, name: str = "", after_ms: int = 3) -> Click:
    """Return a click, named after its impression."""
    return Click(
        click_id=name or f"click-on-{impression.impression_id}",
        impression_id=impression.impression_id,
        event_time_ms=impression.event_time_ms + after_ms,
    )
