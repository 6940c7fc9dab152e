"""A producer that knows the truth, worker processes to torment, and a comparison of what came out with what must."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import heappop, heappush
from pathlib import Path
from urllib.request import urlopen

from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from deploy.local_kafka.broker import free_port
from stream.events import Click, Impression, decode_labeled, encode
from stream.settings import KafkaSettings
from stream.topics import TopicKind, topic_name, topic_table

WINDOW_SECONDS = 3.0
QUIET_SECONDS = 6.0


@dataclass
class Truth:
    """What must come out."""

    impressions: dict[str, int] = field(default_factory=dict)  # id -> event time
    clicks: dict[str, Click] = field(default_factory=dict)
    window_ms: int = int(WINDOW_SECONDS * 1000)

    def joined(self) -> dict[str, set[str]]:
        """Click ids of every impression, inside its window."""
        joined: dict[str, set[str]] = {impression_id: set() for impression_id in self.impressions}
        for click in self.clicks.values():
            shown_ms = self.impressions.get(click.impression_id)
            if shown_ms is not None and click.event_time_ms <= shown_ms + self.window_ms:
                joined[click.impression_id].add(click.click_id)
        return joined


class Shop(threading.Thread):
    """Sends impressions and clicks at a rate until its time is over or it is closed.

    Every event bears the time it was sent at.
    """

    def __init__(self, kafka: KafkaSettings, *, seconds: float, rate: float, click_rate: float = 0.3, seed: int = 1):
        super().__init__(daemon=True)
        self.truth = Truth()
        self._kafka = kafka
        self._seconds = seconds
        self._rate = rate
        self._click_rate = click_rate
        self._random = random.Random(seed)
        self._closed = threading.Event()

    def close(self) -> None:
        """Let no more customers in, and wait until the last has left."""
        self._closed.set()
        self.join()

    def run(self) -> None:
        producer = KafkaProducer(**self._kafka.client_options(), acks="all", linger_ms=5)
        topic = topic_name("events", self._kafka)
        due: list[tuple[float, int, str, str]] = []
        started, number = time.time(), 0
        while (now := time.time()) < started + self._seconds and not self._closed.is_set():
            while number < (now - started) * self._rate:
                self._show(producer, topic, due, number)
                number += 1
            while due and due[0][0] <= time.time():
                _, _, click_id, impression_id = heappop(due)
                self._click(producer, topic, click_id, impression_id)
            time.sleep(0.005)
        producer.flush()
        producer.close()

    def _show(self, producer: KafkaProducer, topic: str, due: list, number: int) -> None:
        now, impression_id = time.time(), f"i{number}"
        clicked = self._random.random() < self._click_rate
        if clicked and self._random.random() < 0.02:
            self._click(producer, topic, f"{impression_id}-early", impression_id)
        event = Impression(
            impression_id=impression_id, event_time_ms=int(now * 1000), item_id="x", item_text="red shoe"
        )
        producer.send(topic, key=impression_id.encode(), value=encode(event), timestamp_ms=event.event_time_ms)
        self.truth.impressions[impression_id] = event.event_time_ms
        for k in range(self._random.choice((1, 1, 2)) if clicked else 0):
            # Some come after the window: those are late.
            delay = self._random.uniform(0.05, WINDOW_SECONDS * 1.1)
            heappush(due, (now + delay, number * 2 + k, f"{impression_id}-{k}", impression_id))

    def _click(self, producer: KafkaProducer, topic: str, click_id: str, impression_id: str) -> None:
        click = Click(click_id=click_id, impression_id=impression_id, event_time_ms=int(time.time() * 1000))
        producer.send(topic, key=impression_id.encode(), value=encode(click), timestamp_ms=click.event_time_ms)
        self.truth.clicks[click_id] = click


class Worker:
    """A `python -m stream` process in one slot of the group."""

    def __init__(self, kafka: KafkaSettings, instance: str, home: Path, **join: object):
        settings = {
            "MILLSTREAM_KAFKA_BOOTSTRAP": kafka.bootstrap,
            "MILLSTREAM_KAFKA_TOPIC_PREFIX": kafka.topic_prefix,
            "MILLSTREAM_KAFKA_PARTITIONS": kafka.partitions,
            "MILLSTREAM_HOME": home,
            "MILLSTREAM_JOIN_INSTANCE": instance,
            "MILLSTREAM_JOIN_WINDOW_SECONDS": WINDOW_SECONDS,
            "MILLSTREAM_JOIN_QUIET_SECONDS": QUIET_SECONDS,
        } | {f"MILLSTREAM_JOIN_{name.upper()}": value for name, value in join.items()}
        self._port = free_port()
        settings["MILLSTREAM_METRICS_PORT"] = self._port
        self._environment = os.environ | {name: str(value) for name, value in settings.items()}
        self._log = home / f"stream-{instance}.log"
        self.process = self.start()

    def start(self) -> subprocess.Popen:
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "stream"], env=self._environment, stdout=log, stderr=log
            )
        return self.process

    def log(self) -> str:
        return self._log.read_text()

    def metric(self, name: str) -> float | None:
        """Value of a metric without labels; None while the worker does not answer."""
        try:
            with urlopen(f"http://127.0.0.1:{self._port}/metrics", timeout=5) as page:
                lines = page.read().decode().splitlines()
        except OSError:
            return None
        return next((float(line.split()[1]) for line in lines if line.startswith(f"{name} ")), None)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def terminate(self) -> tuple[int, float]:
        """Exit status and seconds it took to end after SIGTERM."""
        started = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=60), time.monotonic() - started

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.kill()


def labeled_ids(kafka: KafkaSettings) -> set[str]:
    """Ids of all impressions that have a label by now."""
    return {decode_labeled(record.value).impression.impression_id for record in read_all(kafka, "labeled-impressions")}


def read_all(kafka: KafkaSettings, kind: TopicKind) -> list:
    """Every record of a topic, partition after partition."""
    topic = topic_table(kafka)[kind]
    consumer = KafkaConsumer(**kafka.client_options(), group_id=None, enable_auto_commit=False, fetch_max_wait_ms=100)
    try:
        partitions = [TopicPartition(topic.name, number) for number in range(topic.partitions)]
        consumer.assign(partitions)
        consumer.seek_to_beginning(*partitions)
        ends = consumer.end_offsets(partitions)
        records = []
        while any(consumer.position(partition) < ends[partition] for partition in partitions):
            for batch in consumer.poll(timeout_ms=200).values():
                records += batch
        return sorted(records, key=lambda record: (record.partition, record.offset))
    finally:
        consumer.close()


def wait_for(condition: Callable[[], bool], *, seconds: float = 60.0) -> None:
    """Return when the condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"it did not come true within {seconds} s"
        time.sleep(0.2)


def wait_until_settled(kafka: KafkaSettings, *, seconds: float = 60.0, group: str = "stream") -> None:
    """Return when the group has committed everything in `events`."""
    topic = topic_table(kafka)["events"]
    partitions = [TopicPartition(topic.name, number) for number in range(topic.partitions)]
    consumer = KafkaConsumer(
        **kafka.client_options(), group_id=f"{kafka.topic_prefix}{group}", enable_auto_commit=False
    )
    try:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            ends = consumer.end_offsets(partitions)
            left = {p.partition: (consumer.committed(p), end) for p, end in ends.items() if end}
            if all(committed == end for committed, end in left.values()):
                return
            time.sleep(0.3)
        message = f"not everything was committed within {seconds} s: {left}"
        raise AssertionError(message)
    finally:
        consumer.close()


@dataclass
class Result:
    """Difference between labels and truth; `wrong` compares the clicks of the first label of each impression."""

    lost: set[str]
    wrong: set[str]
    repeated: int
    unaccounted_clicks: set[str]
    dead_letters: Counter


def compare(kafka: KafkaSettings, truth: Truth) -> Result:
    first: dict[str, set[str]] = {}
    repeated = 0
    for record in read_all(kafka, "labeled-impressions"):
        labeled = decode_labeled(record.value)
        assert labeled.source_partition == record.partition
        if labeled.impression.impression_id in first:
            repeated += 1
        else:
            first[labeled.impression.impression_id] = set(labeled.click_ids)
            assert labeled.label == (1 if labeled.click_ids else 0)
    letters = [dict(record.headers) | {"value": record.value} for record in read_all(kafka, "dead-letters")]
    joined = truth.joined()
    in_labels = {click_id for clicks in first.values() for click_id in clicks}
    lost_clicks = {letter["value"] for letter in letters}
    return Result(
        lost=joined.keys() - first.keys(),
        wrong={key for key, clicks in first.items() if key in joined and clicks != joined[key]},
        repeated=repeated,
        unaccounted_clicks={
            click.click_id
            for click in truth.clicks.values()
            if click.click_id not in in_labels and encode(click) not in lost_clicks
        },
        dead_letters=Counter(letter["millstream.reason"].decode() for letter in letters),
    )


@dataclass
class EarlyResult:
    """Difference between early labels and truth, first copies and repeats alike."""

    lost: set[str]
    wrong: set[str]
    repeated: int
    unaccounted_clicks: set[str]


def compare_early(kafka: KafkaSettings, truth: Truth) -> EarlyResult:
    """Hold the labels of early-negative mode against the truth: what was clicked is revised by one click, always it."""
    copies: Counter = Counter()
    revised: dict[str, set[str]] = {}
    for record in read_all(kafka, "labeled-impressions"):
        labeled = decode_labeled(record.value)
        impression_id = labeled.impression.impression_id
        copies[labeled.revision, impression_id] += 1
        assert labeled.label == labeled.revision == len(labeled.click_ids)
        if labeled.revision:
            revised.setdefault(impression_id, set()).update(labeled.click_ids)
    letters = {record.value: dict(record.headers) for record in read_all(kafka, "dead-letters")}
    joined = truth.joined()
    in_labels = {click_id for clicks in revised.values() for click_id in clicks}
    return EarlyResult(
        lost={key for key in joined if (0, key) not in copies},
        wrong={
            key
            for key, clicks in joined.items()
            if len(revised.get(key, ())) != bool(clicks) or not revised.get(key, set()) <= clicks
        },
        repeated=sum(copies.values()) - len(copies),
        unaccounted_clicks={
            click.click_id
            for click in truth.clicks.values()
            if click.click_id not in in_labels and encode(click) not in letters
        },
    )
