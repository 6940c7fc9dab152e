"""Real processes of the scorer on a real Kafka, and the records they read and write."""

import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from prometheus_client.parser import text_string_to_metric_families

from deploy.local_kafka.broker import free_port
from scorer.model.bundle import ModelBundle
from scorer.registry.registry import ModelRegistry
from stream.cluster.releases import announce
from stream.events import Alias, LabeledImpression, ModelRelease, WeightedExample, encode
from stream.example_batch import decode_examples
from stream.settings import KafkaSettings
from stream.topics import topic_name
from tests.doubles import tiny_labeled

PATIENCE_SECONDS = 120.0
"""Generous: a process imports torch while seven others do the same. A test that works never waits so long."""


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Return when the condition holds; fail, saying what was awaited, if it does not come true."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"waited {PATIENCE_SECONDS:.0f} s in vain: {what}"
        time.sleep(0.1)


class ScorerProcess:
    """`python -m scorer [...]` with its own metrics port and log; killed at the end if it still runs."""

    def __init__(self, kafka: KafkaSettings, home: Path, *arguments: str, instance: str = "0", **settings: str) -> None:
        self.port = free_port()
        self._arguments = arguments
        self._log_path = home / f"{'-'.join(arguments) or 'scorer'}-{instance}.log"
        self._environment = {
            **os.environ,
            "MILLSTREAM_HOME": str(home),
            "MILLSTREAM_KAFKA_BOOTSTRAP": kafka.bootstrap,
            "MILLSTREAM_KAFKA_TOPIC_PREFIX": kafka.topic_prefix,
            "MILLSTREAM_KAFKA_PARTITIONS": str(kafka.partitions),
            "MILLSTREAM_METRICS_PORT": str(self.port),
            "MILLSTREAM_SCORER_INSTANCE": instance,
            "MILLSTREAM_MODEL_DEVICE": "cpu",
            "OMP_NUM_THREADS": "1",
            **settings,
        }
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._process is not None and self._process.poll() is None:
            self.kill()
        if error is not None:
            sys.stderr.write(self.log()[-8_000:])

    def start(self) -> None:
        with self._log_path.open("ab") as log:
            command = [sys.executable, "-m", "scorer", *self._arguments]
            self._process = subprocess.Popen(command, env=self._environment, stdout=log, stderr=log)

    def kill(self) -> None:
        self._stop(signal.SIGKILL)

    def terminate(self) -> int:
        return self._stop(signal.SIGTERM)

    def wait(self) -> int:
        assert self._process is not None
        return self._process.wait(PATIENCE_SECONDS)

    def log(self) -> str:
        return self._log_path.read_text()

    def metric(self, name: str, **labels: str) -> float | None:
        """Return one sample, None while nobody shows it."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=10) as response:
                text = response.read().decode()
        except OSError:
            return None
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name == name and sample.labels == labels:
                    return sample.value
        return None

    def wait_for_metric(self, name: str, at_least: float, **labels: str) -> None:
        def reached() -> bool:
            assert self._process is not None
            assert self._process.poll() is None, f"the process ended:\n{self.log()[-4_000:]}"
            value = self.metric(name, **labels)
            return value is not None and value >= at_least

        wait_until(reached, f"{name}{labels or ''} >= {at_least}; now {self.metric(name, **labels)}")

    def _stop(self, number: signal.Signals) -> int:
        assert self._process is not None
        self._process.send_signal(number)
        return self._process.wait(PATIENCE_SECONDS)


def publish(
    kafka: KafkaSettings,
    registry: ModelRegistry,
    bundle: ModelBundle,
    *aliases: Alias,
    covered_offsets: dict[str, int] | None = None,
) -> None:
    """Publish a version and announce it under the aliases."""
    digest = registry.publish(bundle, created_ms=int(time.time() * 1000))
    announce(
        kafka,
        [
            ModelRelease(
                alias=alias,
                version=bundle.version,
                digest=digest,
                location=bundle.version,
                reason="initialised",
                created_ms=int(time.time() * 1000),
                covered_offsets=covered_offsets or {},
            )
            for alias in aliases
        ],
    )


def labeled_rows(numbers: Iterable[int], now_ms: int | None = None) -> list[LabeledImpression]:
    """Return rows of two source partitions, due now."""
    now_ms = now_ms or int(time.time() * 1000)
    return [tiny_labeled(number, event_time_ms=now_ms - 5_000) for number in numbers]


def send_labeled(kafka: KafkaSettings, rows: Sequence[LabeledImpression]) -> None:
    """Write labeled impressions, each to its source partition."""
    producer = KafkaProducer(**kafka.client_options())
    for row in rows:
        key = row.impression.impression_id.encode()
        producer.send(
            topic_name("labeled-impressions", kafka), key=key, value=encode(row), partition=row.source_partition
        )
    producer.flush(timeout=60)
    producer.close()


class ExampleReader:
    """Reads `weighted-examples` from the beginning, as far as it goes at each call."""

    def __init__(self, kafka: KafkaSettings) -> None:
        self._consumer = KafkaConsumer(**kafka.client_options(), group_id=None, enable_auto_commit=False)
        partitions = [TopicPartition(topic_name("weighted-examples", kafka), n) for n in range(kafka.partitions)]
        self._consumer.assign(partitions)
        self._consumer.seek_to_beginning(*partitions)
        self.by_partition: dict[int, list[WeightedExample]] = {n: [] for n in range(kafka.partitions)}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._consumer.close()

    def read(self) -> list[WeightedExample]:
        """Return every example so far."""
        for records in self._consumer.poll(timeout_ms=200).values():
            for record in records:
                self.by_partition[record.partition] += decode_examples(record.value)
        return [example for examples in self.by_partition.values() for example in examples]

    def ids(self) -> set[str]:
        """Return the distinct impression ids so far."""
        return {example.labeled.impression.impression_id for example in self.read()}
