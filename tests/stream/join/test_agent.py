"""The label join on real Kafka: worker processes are killed and moved about, labels are held against the truth."""

import random
import time
from collections import Counter
from pathlib import Path

import msgspec
import pytest
from kafka import KafkaAdminClient, KafkaProducer

from stream.cluster.admin import apply_topics
from stream.cluster.log import committed_offsets
from stream.events import Click, Impression, decode_labeled, encode
from stream.process.start import REFUSED
from stream.settings import KafkaSettings
from stream.topics import topic_name
from tests.stream.traffic import (
    QUIET_SECONDS,
    Shop,
    Truth,
    Worker,
    compare,
    compare_early,
    labeled_ids,
    read_all,
    wait_for,
    wait_until_settled,
)

pytestmark = pytest.mark.kafka


def send(kafka: KafkaSettings, records: list[tuple[bytes | None, bytes | None]], partition: int = 0) -> None:
    producer = KafkaProducer(**kafka.client_options(), acks="all")
    for key, value in records:
        producer.send(topic_name("events", kafka), key=key, value=value, partition=partition).get(timeout=30)
    producer.close()


def shown(name: str, **changes: object) -> Impression:
    return Impression(
        impression_id=name, event_time_ms=int(time.time() * 1000), item_id="x", item_text="red shoe", **changes
    )


def assert_exact(kafka: KafkaSettings, shop: Shop) -> None:
    result = compare(kafka, shop.truth)
    assert len(shop.truth.impressions) > 500, "the shop must have been busy"
    assert (result.lost, result.wrong, result.unaccounted_clicks) == (set(), set(), set())


def test_kill_and_restart_lose_no_label_and_change_none(kafka: KafkaSettings, tmp_path: Path):
    shop = Shop(kafka, seconds=14, rate=150)
    with Worker(kafka, "a", tmp_path) as worker:
        shop.start()
        for _ in range(2):
            time.sleep(6)
            worker.kill()
            worker.start()
        shop.join()
        wait_until_settled(kafka)
    assert_exact(kafka, shop)


def test_early_kill_and_restart_revise_every_clicked_impression_by_one_click(kafka: KafkaSettings, tmp_path: Path):
    shop = Shop(kafka, seconds=14, rate=150)
    with Worker(kafka, "a", tmp_path, early_negative=True) as worker:
        shop.start()
        for _ in range(2):
            time.sleep(6)
            worker.kill()
            worker.start()
        shop.join()
        # The last windows close in silence, with nothing to send: they are acknowledged all the same.
        wait_until_settled(kafka)
    result = compare_early(kafka, shop.truth)
    assert len(shop.truth.impressions) > 500, "the shop must have been busy"
    assert (result.lost, result.wrong, result.unaccounted_clicks) == (set(), set(), set())
    assert result.repeated > 0, "a killed worker reads its open windows again"


def test_workers_come_and_go_under_traffic_and_no_window_is_held_back(kafka: KafkaSettings, tmp_path: Path):
    wide = kafka.model_copy(update={"topic_prefix": f"{kafka.topic_prefix}wide.", "partitions": 4})
    apply_topics(wide)
    shop = Shop(wide, seconds=120, rate=300)

    def partitions(worker: Worker) -> float:
        return worker.metric("millstream_stream_partitions_count") or 0

    # The window is longer than a second worker takes to come: the first has committed nothing by then.
    with Worker(wide, "a", tmp_path, window_seconds=8) as first:
        wait_for(lambda: partitions(first) == 4)
        with Worker(wide, "b", tmp_path, window_seconds=8) as second:
            shop.start()
            wait_for(lambda: partitions(second) > 0)
            early = set(shop.truth.impressions)
            with Worker(wide, "c", tmp_path, window_seconds=8) as last:
                wait_for(lambda: partitions(last) > 0)
                assert last.terminate()[0] == 0
            # Leaving the block kills b: the remaining worker owns all after the session time-out.
        wait_for(lambda: partitions(first) == 4)
        num_rebalances = first.metric("millstream_stream_rebalances_total")
        shown = set(shop.truth.impressions)
        # While the shop goes on, and before a further rebalance could heal what one broke.
        wait_for(lambda: shown <= labeled_ids(wide))
        assert shop.is_alive()
        assert first.metric("millstream_stream_rebalances_total") == num_rebalances
        shop.close()
    shop.truth.window_ms = 8_000
    assert len(early) > 100, "there must have been traffic before the second worker came"
    assert compare(wide, shop.truth).wrong == set()


def test_transactions_leave_holes_that_hold_nothing_up_and_what_they_abort_never_was(
    kafka: KafkaSettings, tmp_path: Path
):
    topic = topic_name("events", kafka)
    producer = KafkaProducer(**kafka.client_options(), acks="all", transactional_id=f"{topic}-shop")
    producer.init_transactions()

    def transact(*events: Impression | Click, partition: int) -> int:
        producer.begin_transaction()
        sent = [producer.send(topic, key=b"k", value=encode(event), partition=partition) for event in events]
        producer.flush()
        return sent[-1].get(timeout=30).offset

    good = shown("good")
    transact(good, partition=0)
    producer.commit_transaction()
    transact(Click(click_id="never", impression_id="good", event_time_ms=good.event_time_ms), partition=0)
    producer.abort_transaction()
    newest = {}
    for number in range(20):
        partition = number % 2
        newest[partition] = transact(shown(f"i{number}"), partition=partition)
        producer.commit_transaction()
        transact(*(shown(f"never{number}-{k}") for k in range(3)), partition=partition)
        producer.abort_transaction()
    producer.close()

    with Worker(kafka, "a", tmp_path, quiet_seconds=2) as worker:
        wait_for(lambda: len(labeled_ids(kafka)) == 21)
        assert worker.metric("millstream_stream_lag_records") == 0, "or the watchdog would end it"
        wait_for(
            lambda: committed_offsets(kafka, "stream", "events") == {p: offset + 1 for p, offset in newest.items()}
        )
    labels = [decode_labeled(record.value) for record in read_all(kafka, "labeled-impressions")]
    assert {label.impression.impression_id for label in labels} == {"good", *(f"i{number}" for number in range(20))}
    assert not any(label.click_ids for label in labels)
    assert read_all(kafka, "dead-letters") == []


def send_past(kafka: KafkaSettings, truth: Truth, first_ms: int, last_ms: int, name: str) -> None:
    """Send impressions and clicks of the past in event-time order, as if they came then; some clicks are late."""
    draw = random.Random(name)
    events: list[Impression | Click] = []
    for number, time_ms in enumerate(range(first_ms, last_ms, 1_500)):
        impression = msgspec.structs.replace(shown(f"{name}{number}"), event_time_ms=time_ms)
        truth.impressions[impression.impression_id] = time_ms
        events.append(impression)
        if draw.random() < 0.3:
            clicked_ms = time_ms + draw.randrange(1_000, int(truth.window_ms * 1.1))
            if clicked_ms < last_ms:
                click = Click(click_id=f"{name}{number}-c", impression_id=f"{name}{number}", event_time_ms=clicked_ms)
                truth.clicks[click.click_id] = click
                events.append(click)
    producer = KafkaProducer(**kafka.client_options(), acks="all", linger_ms=5)
    for event in sorted(events, key=lambda event: event.event_time_ms):
        producer.send(
            topic_name("events", kafka), key=b"k", value=encode(event), timestamp_ms=event.event_time_ms, partition=0
        )
    producer.flush()
    producer.close()


def test_a_window_of_ten_minutes_survives_kills_with_hundreds_of_impressions_open(kafka: KafkaSettings, tmp_path: Path):
    minute, now_ms = 60_000, int(time.time() * 1000)
    truth = Truth(window_ms=10 * minute)
    with Worker(kafka, "a", tmp_path, window_seconds=600, quiet_seconds=600) as worker:
        for first, last in ((-40, -30), (-30, -20), (-20, -11)):
            send_past(kafka, truth, now_ms + first * minute, now_ms + last * minute, f"from{first}-")
            wait_for(lambda: (worker.metric("millstream_stream_pending_impressions") or 0) > 300)
            worker.kill()
            worker.start()
        send(kafka, [(b"k", encode(shown("closer")))])  # its time closes every window that began before
        wait_for(lambda: not (found := compare(kafka, truth)).lost and not found.unaccounted_clicks)
    result = compare(kafka, truth)
    assert (result.lost, result.wrong, result.unaccounted_clicks) == (set(), set(), set())
    assert sum(len(clicks) for clicks in truth.joined().values()) > 150


def test_bad_records_become_dead_letters_and_repeats_are_counted_once(kafka: KafkaSettings, tmp_path: Path):
    good, other = shown("good"), shown("other")
    click = encode(Click(click_id="k", impression_id="good", event_time_ms=good.event_time_ms + 10))
    unknown = encode(shown("new", schema_version=1)).replace(b'"schema_version":1', b'"schema_version":7')
    bad = [b'{"type":"impression"', b'{"type":"view"}', b"\xff\xfe", unknown, encode(shown("big", query="x" * 70_000))]
    records = [(b"good", encode(good)), (b"good", encode(good)), (b"good", click), (b"good", click)]
    records += [(b"bad", value) for value in bad] + [(b"none", None), (b"other", encode(other))]
    send(kafka, records)
    with Worker(kafka, "a", tmp_path, quiet_seconds=2):
        wait_until_settled(kafka)
    labels = [decode_labeled(record.value) for record in read_all(kafka, "labeled-impressions")]
    assert {label.impression.impression_id: label.click_ids for label in labels} == {"good": ("k",), "other": ()}
    assert len(labels) == 2
    letters = read_all(kafka, "dead-letters")
    assert [(letter.key, letter.value) for letter in letters] == [(b"bad", value) for value in bad] + [(b"none", None)]
    assert Counter(dict(letter.headers)["millstream.reason"].decode() for letter in letters) == {
        "malformed": 3,
        "unknown_version": 1,
        "oversized": 1,
        "empty": 1,
    }
    offsets = [dict(letter.headers)["millstream.offset"] for letter in letters]
    assert offsets == [b"4", b"5", b"6", b"7", b"8", b"9"]


def test_a_topic_made_anew_is_read_from_its_beginning(kafka: KafkaSettings, tmp_path: Path):
    topic = topic_name("events", kafka)
    send(kafka, [(b"k", encode(shown(f"old{number}"))) for number in range(20)])
    with Worker(kafka, "a", tmp_path, window_seconds=1, quiet_seconds=1) as worker:
        wait_until_settled(kafka)
        # The new log may be longer than the old one was read, or shorter.
        for count in (30, 5):
            admin = KafkaAdminClient(**kafka.client_options())
            admin.delete_topics([topic])
            admin.close()
            wait_for(lambda: apply_topics(kafka) == [topic])
            send(kafka, [(b"k", encode(shown(f"{count}-{number}"))) for number in range(count)])
            new = {f"{count}-{number}" for number in range(count)}
            wait_for(lambda new=new: new <= labeled_ids(kafka))
            wait_until_settled(kafka)
        assert worker.metric("millstream_stream_topics_remade_total") == 2
        assert worker.process.poll() is None
        assert "topics_remade" in worker.log()


def test_sigterm_ends_the_worker_in_seconds_with_open_windows_and_loses_none(kafka: KafkaSettings, tmp_path: Path):
    send(kafka, [(b"a", encode(shown("a")))])
    with Worker(kafka, "a", tmp_path, window_seconds=600) as worker:
        wait_for(lambda: worker.metric("millstream_stream_pending_impressions") == 1)
        status, seconds = worker.terminate()
    assert status == 0
    assert seconds < 10
    with Worker(kafka, "a", tmp_path, window_seconds=1, quiet_seconds=1):
        wait_until_settled(kafka)
    assert len(read_all(kafka, "labeled-impressions")) == 1


def test_sigterm_before_the_worker_runs_ends_it_too(kafka: KafkaSettings, tmp_path: Path):
    with Worker(kafka, "a", tmp_path) as worker:
        wait_for(lambda: worker.metric("process_resident_memory_bytes") is not None)
        assert worker.terminate()[0] == 0


def test_above_the_memory_bound_the_oldest_windows_close_early(kafka: KafkaSettings, tmp_path: Path):
    send(kafka, [(b"i", encode(shown(f"i{number}"))) for number in range(100)])
    with Worker(kafka, "a", tmp_path, window_seconds=600, max_pending=30) as worker:
        wait_for(lambda: worker.metric("millstream_stream_windows_cut_total") == 70)
        assert worker.metric("millstream_stream_pending_impressions") == 30
    labels = [decode_labeled(record.value) for record in read_all(kafka, "labeled-impressions")]
    assert [label.impression.impression_id for label in labels] == [f"i{number}" for number in range(70)]
    assert all(label.window_cut for label in labels)


def test_a_worker_without_its_topics_says_what_to_do(kafka_cluster: str, tmp_path: Path):
    absent = KafkaSettings(bootstrap=kafka_cluster, topic_prefix="absent.", partitions=1)
    with Worker(absent, "a", tmp_path) as worker:
        assert worker.process.wait(timeout=60) == REFUSED
        assert "millstream topics apply" in worker.log()


assert QUIET_SECONDS > 3, "a busy machine holds the shop up for seconds, which must not look like silence"
