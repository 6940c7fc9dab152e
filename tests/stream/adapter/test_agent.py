"""Foreign topics become events on real Kafka, bad records dead letters, and a kill loses none."""

import json
import os
import random
import subprocess
import sys
import threading
import time
from contextlib import closing
from heapq import heappop, heappush
from pathlib import Path
from urllib.request import urlopen

import pytest
from kafka import KafkaAdminClient, KafkaProducer
from kafka.errors import GroupIdNotFoundError

from deploy.local_kafka.broker import free_port
from stream.events import Click, Impression, decode_event
from stream.settings import KafkaSettings
from tests.stream.cluster.test_gone_records import gone_letters, leave_only_the_last
from tests.stream.traffic import Truth, Worker, compare, read_all, wait_for, wait_until_settled

pytestmark = pytest.mark.kafka

MAPPING = """
[[source]]
topic = "{prefix}foreign-views"
event = "impression"
fields = {{ impression_id = "id", event_time_ms = "ts", item_id = "sku", item_text = "title" }}

[[source]]
topic = "{prefix}foreign-clicks"
event = "click"
time_unit = "s"
fields = {{ click_id = "{click_id}", impression_id = "view", event_time_ms = "ts" }}
constants = {{ kind = "purchase" }}
"""


def create_foreign_topics(kafka: KafkaSettings) -> None:
    admin = KafkaAdminClient(**kafka.client_options())
    names = [f"{kafka.topic_prefix}foreign-{name}" for name in ("views", "clicks")]
    admin.create_topics({name: {"num_partitions": 2, "replication_factor": 1} for name in names})
    admin.close()


def send_foreign(kafka: KafkaSettings, numbers: range, *, abort: bool = False) -> None:
    """Send views and clicks in one transaction, as exactly-once producers do."""
    producer = KafkaProducer(**kafka.client_options(), acks="all", transactional_id=f"{kafka.topic_prefix}shop")
    producer.init_transactions()
    producer.begin_transaction()
    now = time.time()
    for number in numbers:
        view = {"id": number, "ts": int(now * 1000), "sku": f"s{number}", "title": "red shoe"}
        producer.send(f"{kafka.topic_prefix}foreign-views", json.dumps(view).encode())
        producer.send(f"{kafka.topic_prefix}foreign-clicks", json.dumps({"view": number, "ts": now}).encode())
    producer.flush()
    producer.abort_transaction() if abort else producer.commit_transaction()
    producer.close()


def lag(port: int) -> float | None:
    """Foreign records that the adapter has not yet settled; None while it does not answer."""
    try:
        with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as page:
            lines = page.read().decode().splitlines()
    except OSError:
        return None
    return next((float(line.split()[1]) for line in lines if line.startswith("millstream_adapter_lag_records ")), None)


def start_adapter(kafka: KafkaSettings, home: Path, port: int = 0, click_id: str = "$record") -> subprocess.Popen:
    mapping = home / "mapping.toml"
    mapping.write_text(MAPPING.format(prefix=kafka.topic_prefix, click_id=click_id))
    settings = {
        "MILLSTREAM_KAFKA_BOOTSTRAP": kafka.bootstrap,
        "MILLSTREAM_KAFKA_TOPIC_PREFIX": kafka.topic_prefix,
        "MILLSTREAM_KAFKA_PARTITIONS": str(kafka.partitions),
        "MILLSTREAM_HOME": str(home),
        "MILLSTREAM_METRICS_PORT": str(port),
        "MILLSTREAM_ADAPTER_MAPPING": str(mapping),
    }
    with (home / "adapter.log").open("ab") as log:
        command = [sys.executable, "-m", "stream", "adapter"]
        return subprocess.Popen(command, env=os.environ | settings, stdout=log, stderr=log)


def test_foreign_records_become_events_and_a_kill_loses_none(kafka: KafkaSettings, tmp_path: Path):
    create_foreign_topics(kafka)
    send_foreign(kafka, range(300))
    producer = KafkaProducer(**kafka.client_options(), acks="all")
    producer.send(f"{kafka.topic_prefix}foreign-clicks", b'{"view": 1}', key=b"k").get(timeout=30)
    producer.close()
    first = start_adapter(kafka, tmp_path, free_port())
    try:
        wait_for(lambda: len(read_all(kafka, "events")) > 0)
    finally:
        first.kill()
        first.wait()
    send_foreign(kafka, range(300, 600))
    send_foreign(kafka, range(600, 700), abort=True)
    port = free_port()
    second = start_adapter(kafka, tmp_path, port)
    try:
        wait_for(lambda: len({(r.key, b'"click"' in r.value[:20]) for r in read_all(kafka, "events")}) == 1200)
        # The log ends in aborted records and commit markers: there is nothing to read, so nothing is unread.
        wait_for(lambda: lag(port) == 0)
        second.terminate()
        assert second.wait(timeout=60) == 0
    finally:
        second.kill()
    records = read_all(kafka, "events")
    events = [decode_event(record.value) for record in records]
    assert all(record.key == event.impression_id.encode() for record, event in zip(records, events, strict=True))
    assert {event.impression_id for event in events if isinstance(event, Impression)} == {str(n) for n in range(600)}
    assert {event.impression_id for event in events if isinstance(event, Click)} == {str(n) for n in range(600)}
    assert {event.kind for event in events if isinstance(event, Click)} == {"purchase"}
    letters = {
        (letter.key, letter.value, dict(letter.headers)["millstream.reason"])
        for letter in read_all(kafka, "dead-letters")
    }
    assert letters == {(b"k", b'{"view": 1}', b"unmappable")}


def test_what_retention_took_from_the_adapter_is_written_down(kafka: KafkaSettings, tmp_path: Path):
    create_foreign_topics(kafka)
    topic = f"{kafka.topic_prefix}foreign-views"
    now_ms = int(time.time() * 1000)
    views = [json.dumps({"id": number, "ts": now_ms, "sku": "s", "title": "shoe"}).encode() for number in range(100)]
    leave_only_the_last(kafka, topic, "adapter", views)
    adapter = start_adapter(kafka, tmp_path)
    try:
        wait_for(lambda: len(read_all(kafka, "events")) == 10)
    finally:
        adapter.kill()
        adapter.wait()
    assert gone_letters(kafka) == [(b"adapter", topic.encode(), b"10", b"89")]


def send_past(kafka: KafkaSettings, truth: Truth, *, seconds: int, rate: int) -> None:
    """Write a backlog to both foreign topics as a shop would have written it: views, and clicks on a third of them."""
    draw = random.Random(7)
    producer = KafkaProducer(**kafka.client_options(), acks="all", linger_ms=20)
    started_ms = int(time.time() * 1000) - seconds * 1000
    clicks = []
    for number in range(seconds * rate):
        shown_ms = started_ms + number * 1000 // rate
        view = {"id": number, "ts": shown_ms, "sku": "s", "title": "red shoe"}
        producer.send(f"{kafka.topic_prefix}foreign-views", json.dumps(view).encode(), timestamp_ms=shown_ms)
        truth.impressions[str(number)] = shown_ms
        if draw.random() < 0.33:
            clicks.append((shown_ms + draw.randrange(100, 2_500), number))
    for clicked_ms, number in sorted(clicks):
        click = {"view": number, "ts": clicked_ms / 1000, "id": f"c{number}"}
        producer.send(f"{kafka.topic_prefix}foreign-clicks", json.dumps(click).encode(), timestamp_ms=clicked_ms)
        truth.clicks[f"c{number}"] = Click(
            click_id=f"c{number}", impression_id=str(number), event_time_ms=clicked_ms, kind="purchase"
        )
    producer.flush()
    producer.close()


def test_a_backlog_on_both_topics_loses_no_click(kafka: KafkaSettings, tmp_path: Path):
    create_foreign_topics(kafka)
    truth = Truth()
    send_past(kafka, truth, seconds=600, rate=4)
    with Worker(kafka, "a", tmp_path):
        adapter = start_adapter(kafka, tmp_path, click_id="id")
        try:
            total = len(truth.impressions) + len(truth.clicks)
            wait_for(lambda: len(read_all(kafka, "events")) >= total)
            wait_until_settled(kafka)
        finally:
            adapter.kill()
            adapter.wait()
    assert all(record.timestamp == decode_event(record.value).event_time_ms for record in read_all(kafka, "events"))
    result = compare(kafka, truth)
    assert len(truth.clicks) > 600
    assert (result.lost, result.wrong, result.unaccounted_clicks) == (set(), set(), set())
    assert result.dead_letters == {}


class ForeignShop(threading.Thread):
    """Writes views, and clicks on a third of them, to the foreign topics as they happen."""

    def __init__(self, kafka: KafkaSettings, *, seconds: float, rate: float, click_after: tuple[float, float]):
        super().__init__(daemon=True)
        self.truth = Truth(window_ms=2_000)
        self._kafka, self._seconds, self._rate, self._click_after = kafka, seconds, rate, click_after

    def run(self) -> None:
        producer = KafkaProducer(**self._kafka.client_options(), acks="all", linger_ms=5)
        draw = random.Random(3)
        due: list[tuple[float, int]] = []
        started, number = time.time(), 0
        while (now := time.time()) < started + self._seconds or due:
            while number < min(now - started, self._seconds) * self._rate:
                shown_ms = int(time.time() * 1000)
                view = {"id": number, "ts": shown_ms, "sku": "s", "title": "red shoe"}
                producer.send(f"{self._kafka.topic_prefix}foreign-views", json.dumps(view).encode())
                self.truth.impressions[str(number)] = shown_ms
                if draw.random() < 0.33:
                    heappush(due, (shown_ms / 1000 + draw.uniform(*self._click_after), number))
                number += 1
            while due and due[0][0] <= time.time():
                self._click(producer, heappop(due)[1])
            time.sleep(0.005)
        producer.close()

    def _click(self, producer: KafkaProducer, number: int) -> None:
        clicked_ms = int(time.time() * 1000)
        click = {"view": number, "ts": clicked_ms / 1000, "id": f"c{number}"}
        producer.send(f"{self._kafka.topic_prefix}foreign-clicks", json.dumps(click).encode())
        self.truth.clicks[f"c{number}"] = Click(
            click_id=f"c{number}", impression_id=str(number), event_time_ms=clicked_ms, kind="purchase"
        )


def test_an_adapter_has_a_place_before_it_has_forwarded_anything(kafka: KafkaSettings, tmp_path: Path):
    create_foreign_topics(kafka)
    adapter = start_adapter(kafka, tmp_path, click_id="id")
    try:
        wait_for(lambda: committed_places(kafka) == [0, 0, 0, 0])
    finally:
        adapter.kill()
        adapter.wait()


def committed_places(kafka: KafkaSettings) -> list[int]:
    group = f"{kafka.topic_prefix}adapter"
    try:
        with closing(KafkaAdminClient(**kafka.client_options())) as admin:
            places = admin.list_group_offsets(group).get(group, {})
    except GroupIdNotFoundError:
        return []
    return [place.offset for place in places.values()]


def test_an_outage_longer_than_window_and_quiet_time_loses_no_click(kafka: KafkaSettings, tmp_path: Path):
    create_foreign_topics(kafka)
    shop = ForeignShop(kafka, seconds=14, rate=60, click_after=(0.1, 1.8))
    with Worker(kafka, "a", tmp_path, window_seconds=2, quiet_seconds=3):
        adapter = start_adapter(kafka, tmp_path, click_id="id")
        try:
            shop.start()
            wait_for(lambda: len(read_all(kafka, "events")) > 100)
            adapter.kill()
            adapter.wait()
            time.sleep(10)  # window, quiet time, and what a restarted group takes
            adapter = start_adapter(kafka, tmp_path, click_id="id")
            shop.join()
            total = len(shop.truth.impressions) + len(shop.truth.clicks)
            wait_for(lambda: len({record.value for record in read_all(kafka, "events")}) >= total)
            wait_until_settled(kafka)
        finally:
            adapter.kill()
            adapter.wait()
    result = compare(kafka, shop.truth)
    assert len(shop.truth.clicks) > 150
    assert (result.lost, result.wrong, result.unaccounted_clicks) == (set(), set(), set())
    assert result.dead_letters == {}
