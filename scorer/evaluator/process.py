"""The evaluator process: judges every row of `weighted-examples`, and continues from its snapshot after a restart."""

import threading
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import structlog
from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError, OffsetOutOfRangeError

from scorer.evaluator.metrics import EvaluatorMetrics
from scorer.evaluator.settings import EvaluatorSettings
from scorer.evaluator.snapshot_file import Snapshot, read_snapshot, write_snapshot
from scorer.evaluator.state import ProgressiveEvaluator
from stream.cluster.admin import ClusterError, require_cluster
from stream.cluster.gone_records import gone_range, tell_gone
from stream.cluster.outage import Outage
from stream.cluster.releases import ReleaseFollower
from stream.codec import UndecodableError, decoded
from stream.disk.directory_lock import directory_lock
from stream.disk.durable_files import free_bytes
from stream.events import EventError
from stream.example_batch import decode_examples
from stream.process.signals import stop_on_signals
from stream.process.start import Process
from stream.process.watchdog import StopRequest, start_watchdog
from stream.settings import KafkaSettings
from stream.topics import topic_name

_POLL_MS = 200
_POLL_RECORDS = 200


class SnapshotError(ValueError):
    """A snapshot that is not of what is read now; the message says what to do."""


class EvaluatorLoop:
    """Feeds the evaluator from Kafka without a consumer group: its offsets are part of the snapshot.

    Args:
        kafka: Cluster and topics.
        settings: Of the evaluator.
        metrics: What to count in.
        releases: Gives the releases.
        consumer: Gives the examples; without a group.

    Raises:
        SnapshotError: the snapshot belongs to other topics.
        ClusterError: the topic of examples does not exist.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        settings: EvaluatorSettings,
        metrics: EvaluatorMetrics,
        releases: ReleaseFollower,
        consumer: KafkaConsumer,
    ) -> None:
        self._settings = settings
        self._metrics = metrics
        self._releases = releases
        self._consumer = consumer
        self._topic = topic_name("weighted-examples", kafka)
        self._path = settings.state() / "snapshot.npz"
        known = read_state(self._path, settings)
        self._partitions = self._found_partitions(kafka)
        self._consumer.assign(self._partitions)
        self._consumer.seek_to_beginning(*self._partitions)
        self._evaluator = known[1] if known and self._continues(known[0]) else ProgressiveEvaluator(settings)

    def run(self, stopping: threading.Event) -> None:
        """Read, judge and save until told to stop; the last snapshot is written on the way out.

        A broker that does not answer is waited for.
        """
        next_export = next_snapshot = 0.0
        outage = Outage(stopping.is_set, stopping.wait)
        try:
            while not stopping.is_set():
                outage.through(self._read)
                now = time.monotonic()
                if now >= next_export:
                    next_export = now + self._settings.export_seconds
                    outage.through(self._export)
                if now >= next_snapshot:
                    next_snapshot = now + self._settings.snapshot_seconds
                    outage.through(self._save)
            self._save()
        except KafkaError as error:
            if not stopping.is_set():
                raise
            structlog.get_logger(__name__).warning("stopped_without_kafka", message=str(error))

    def _read(self) -> None:
        for release in self._releases.poll():
            for seconds in self._evaluator.add_release(release):
                self._metrics.freshness.observe(seconds)
        try:
            polled = self._consumer.poll(timeout_ms=_POLL_MS, max_records=_POLL_RECORDS)
        except OffsetOutOfRangeError:
            self._go_on_at({partition: self._consumer.position(partition) for partition in self._partitions})
            return
        for partition, records in polled.items():
            for record in records:
                self._add(partition.partition, record)

    def _add(self, partition: int, record: Any) -> None:
        try:
            examples = decode_examples(record.value)
        except EventError as error:
            # The trainer makes the dead letter: it must not be written twice.
            self._metrics.unusable_records.inc()
            structlog.get_logger(__name__).warning(
                "record_unusable", partition=partition, offset=record.offset, reason=error.reason, message=str(error)
            )
            return
        self._metrics.count(self._evaluator.add_record(partition, record.offset, examples))

    def _export(self) -> None:
        self._metrics.gauges.show(self._evaluator.evaluate())
        positions = {partition: self._consumer.position(partition) for partition in self._partitions}
        ends = {partition: self._consumer.highwater(partition) for partition in self._partitions}
        self._metrics.lag.set(
            sum(max(0, ends[partition] - positions[partition]) for partition in ends if ends[partition] is not None)
        )

    def _save(self) -> None:
        offsets = {partition.partition: self._consumer.position(partition) for partition in self._partitions}
        with self._metrics.snapshot_seconds.time():
            write_snapshot(self._path, Snapshot(topic=self._topic, offsets=offsets, arrays=self._evaluator.snapshot()))

    def _found_partitions(self, kafka: KafkaSettings) -> list[TopicPartition]:
        numbers = self._consumer.partitions_for_topic(self._topic)
        if not numbers:
            message = f"topic {self._topic} does not exist at {kafka.bootstrap}; run 'millstream topics apply'"
            raise ClusterError(message)
        return [TopicPartition(self._topic, number) for number in sorted(numbers)]

    def _continues(self, snapshot: Snapshot) -> bool:
        """Seek to the snapshot's offsets; return False, at the beginning, if the log is not the one it was taken of."""
        self._check(snapshot)
        end = self._consumer.end_offsets(self._partitions)
        wanted = {partition: snapshot.offsets[partition.partition] for partition in self._partitions}
        if any(wanted[partition] > end[partition] for partition in self._partitions):
            structlog.get_logger(__name__).warning(
                "snapshot_dropped", why=f"topic {self._topic} is shorter than it was: it was made anew"
            )
            self._consumer.seek_to_beginning(*self._partitions)
            return False
        self._go_on_at(wanted)
        return True

    def _go_on_at(self, wanted: Mapping[TopicPartition, int]) -> None:
        """Go to these offsets, or to the beginning of what retention has left: what is gone is told and counted.

        Raises:
            SnapshotError: the topic was made anew while it was read.
        """
        beginnings = self._consumer.beginning_offsets(self._partitions)
        ends = self._consumer.end_offsets(self._partitions)
        if any(wanted[partition] > ends[partition] for partition in self._partitions):
            message = f"topic {self._topic} was made anew while it was read; start again: what is there will be judged"
            raise SnapshotError(message)
        for partition, offset in wanted.items():
            beginning = beginnings[partition]
            gone = gone_range(self._topic, partition.partition, expected=offset, beginning=beginning)
            if gone is not None:
                tell_gone(gone)
                self._metrics.gone_records.inc(gone.num_records)
            self._consumer.seek(partition, max(offset, beginning))

    def _check(self, snapshot: Snapshot) -> None:
        found = (self._topic, {partition.partition for partition in self._partitions})
        if found != (snapshot.topic, set(snapshot.offsets)):
            message = (
                f"snapshot {self._path} is of topic {snapshot.topic} with {len(snapshot.offsets)} partitions, not of "
                f"{self._topic} with {len(self._partitions)}; delete it or set MILLSTREAM_EVALUATOR_DIRECTORY"
            )
            raise SnapshotError(message)


def read_state(path: Path, settings: EvaluatorSettings) -> tuple[Snapshot, ProgressiveEvaluator] | None:
    """Return a snapshot and the evaluator it was taken of, or None if there is none.

    A snapshot that cannot be used is no reason to judge nothing: all retained rows are judged again, and the file is
    kept aside for somebody to look at.
    """
    try:
        snapshot = read_snapshot(path)
        if snapshot is None:
            return None
        evaluator = decoded(
            snapshot.arrays,
            lambda arrays: ProgressiveEvaluator.restore(arrays, settings),
            "a snapshot that this release reads",
            path,
        )
    except UndecodableError as error:
        aside = path.with_suffix(".damaged")
        path.replace(aside)
        structlog.get_logger(__name__).error(
            "snapshot_dropped", why=f"{error}; all retained rows are judged again", kept_as=str(aside)
        )
        return None
    return snapshot, evaluator


def run(process: Process) -> None:
    """Run the evaluator until it is told to stop.

    Raises:
        ValueError: a setting is wrong or the snapshot cannot be used.
        ReleasesUnavailableError: the topic of releases does not exist.
        ClusterError: the topic of examples does not exist.
        DirectoryBusyError: another evaluator uses the snapshot.
    """
    kafka, settings = KafkaSettings(), EvaluatorSettings()
    metrics = EvaluatorMetrics(process.registry)
    busy = "stop the other evaluator, or set MILLSTREAM_EVALUATOR_DIRECTORY to another directory"
    metrics.state_free_bytes.set_function(lambda: free_bytes(settings.state()))
    with stop_on_signals(StopRequest()) as stopping, directory_lock(settings.state(), busy):
        require_cluster(kafka)
        process.show_metrics()
        with (
            closing(ReleaseFollower(kafka, metrics.unusable_releases.inc)) as releases,
            closing(KafkaConsumer(**kafka.reader_options())) as consumer,
        ):
            loop = EvaluatorLoop(kafka, settings, metrics, releases, consumer)
            start_watchdog(stopping.progress, settings.stall_seconds)
            loop.run(stopping)
