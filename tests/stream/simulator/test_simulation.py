import json
import signal
import subprocess
import sys
import time
from collections import Counter
from itertools import islice

import pytest
from kafka import KafkaConsumer, TopicPartition

from stream.events import Click, EventError, Impression, decode_event
from stream.play.ledger import read_producer_ledger
from stream.play.player import PlayerOptions
from stream.play.recorded_log import read_log
from stream.settings import KafkaSettings, MetricsSettings
from stream.simulator.settings import ShopSettings
from stream.simulator.shop import Shop
from stream.simulator.simulation import simulate, write_history
from stream.topics import topic_name

JUNK = {
    "malformed_share": 0.02,
    "unknown_version_share": 0.02,
    "oversized_share": 0.02,
    "repeated_share": 0.05,
    "orphaned_share": 0.02,
    "early_click_share": 0.1,
    "late_click_share": 0.1,
}
FAST = {"click_seconds": 1.0, "late_click_seconds": 2.0}


def topic_content(kafka: KafkaSettings) -> dict[tuple[int, int], tuple[bytes, int]]:
    """Everything in `events`: (partition, offset) -> (value, CreateTime)."""
    topic = topic_name("events", kafka)
    consumer = KafkaConsumer(**kafka.client_options(), enable_auto_commit=False)
    partitions = [TopicPartition(topic, number) for number in range(kafka.partitions)]
    consumer.assign(partitions)
    consumer.seek_to_beginning(*partitions)
    ends = consumer.end_offsets(partitions)
    content = {}
    while any(consumer.position(partition) < end for partition, end in ends.items()):
        for records in consumer.poll(timeout_ms=500).values():
            content |= {(record.partition, record.offset): (record.value, record.timestamp) for record in records}
    consumer.close()
    return content


def test_the_history_is_a_log_of_events_in_time_order_before_now(tmp_path):
    settings = ShopSettings()
    end_ms = 1_700_000_000_000
    write_history(settings, 1_000, tmp_path / "history.parquet", end_ms=end_ms)
    events = list(read_log(tmp_path / "history.parquet", click_delay_seconds=1))
    times = [event.event_time_ms for event in events]
    assert times == sorted(times)
    assert times[-1] <= end_ms
    assert sum(isinstance(event, Impression) for event in events) == 1_000


def test_the_history_holds_the_pages_that_live_traffic_goes_on_from(tmp_path):
    settings = ShopSettings()
    write_history(settings, 600, tmp_path / "history.jsonl.gz", end_ms=1_700_000_000_000)
    written = [e for e in read_log(tmp_path / "history.jsonl.gz", click_delay_seconds=1) if isinstance(e, Impression)]
    shop = Shop(settings, start_ms=1_800_000_000_000, history_rows=600)
    lived = [showing.impression for page in shop.history() for showing in page.showings]
    assert [(e.user_id, e.item_id, e.query, e.history) for e in written] == [
        (e.user_id, e.item_id, e.query, e.history) for e in lived
    ]
    live = {showing.impression.user_id for page in islice(shop, 200) for showing in page.showings}
    assert live & {e.user_id for e in written}


@pytest.mark.kafka
def test_ledger_and_counts_equal_the_topic(kafka, tmp_path):
    options = PlayerOptions(window_seconds=1.5, ledger=tmp_path / "ledger.parquet", total=600)
    counts = simulate(ShopSettings(rate=600, **JUNK, **FAST), kafka, MetricsSettings(port=0), options, history_rows=100)
    content = topic_content(kafka)
    rows = read_producer_ledger(tmp_path / "ledger.parquet").to_pylist()
    assert {(row["partition"], row["offset"]) for row in rows} == content.keys()
    for row in rows:
        value, created_ms = content[row["partition"], row["offset"]]
        assert created_ms == row["event_time_ms"]
        if row["kind"] in {"malformed", "unknown_version", "oversized"}:
            with pytest.raises(EventError) as caught:
                decode_event(value)
            assert caught.value.reason == row["kind"]
            continue
        event = decode_event(value)
        assert event.impression_id == row["impression_id"]
        assert isinstance(event, Click) == (row["click_id"] is not None)
    kinds = Counter(row["kind"] for row in rows)
    assert counts.impressions == kinds["impression"] == 600
    assert (counts.clicks, counts.late_clicks) == (kinds["click"], kinds["late_click"])
    assert counts.orphaned_clicks == kinds["orphaned_click"] > 0
    assert counts.repeated == kinds["repeated_impression"] + kinds["repeated_click"] > 0
    assert counts.dead_letters == kinds["malformed"] + kinds["unknown_version"] + kinds["oversized"] > 0
    assert (counts.failed, counts.unsent) == (0, 0)


@pytest.mark.kafka
def test_the_label_in_the_ledger_is_a_delivered_click_inside_the_window(kafka, tmp_path):
    options = PlayerOptions(window_seconds=1.5, ledger=tmp_path / "ledger.parquet", total=600)
    counts = simulate(ShopSettings(rate=600, **JUNK, **FAST), kafka, MetricsSettings(port=0), options)
    rows = read_producer_ledger(tmp_path / "ledger.parquet").to_pylist()
    shown = {row["impression_id"]: row for row in rows if row["kind"] == "impression"}
    clicked = {
        row["impression_id"]
        for row in rows
        if row["click_id"]
        and row["impression_id"] in shown
        and row["event_time_ms"] <= shown[row["impression_id"]]["event_time_ms"] + 1_500
    }
    assert {name for name, row in shown.items() if row["label"]} == clicked
    assert counts.clicked_impressions == len(clicked)
    assert all(0 < row["click_probability"] < 1 for row in shown.values())


@pytest.mark.kafka
def test_two_runs_with_one_seed_share_no_id(kafka, tmp_path):
    for name in ("one", "two"):
        options = PlayerOptions(window_seconds=1.5, ledger=tmp_path / f"{name}.parquet", total=60)
        simulate(ShopSettings(rate=600, **FAST), kafka, MetricsSettings(port=0), options)
    ids = [
        row["impression_id"]
        for name in ("one", "two")
        for row in read_producer_ledger(tmp_path / f"{name}.parquet").to_pylist()
        if row["kind"] == "impression"
    ]
    assert len(set(ids)) == 120


ENDLESS = """
import sys
from pathlib import Path
from stream.play.player import PlayerOptions
from stream.settings import KafkaSettings, MetricsSettings
from stream.simulator.settings import ShopSettings
from stream.simulator.simulation import simulate

bootstrap, prefix, ledger = sys.argv[1:]
counts = simulate(
    ShopSettings(rate=200, click_seconds=1, late_click_seconds=2),
    KafkaSettings(bootstrap=bootstrap, topic_prefix=prefix, partitions=2),
    MetricsSettings(port=0),
    PlayerOptions(window_seconds=1.5, ledger=Path(ledger)),
)
print(counts.to_json())
"""


@pytest.mark.kafka
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_drains_and_the_ledger_still_equals_the_topic(kafka, tmp_path, number):
    ledger = tmp_path / "ledger.parquet"
    process = subprocess.Popen(
        [sys.executable, "-c", ENDLESS, kafka.bootstrap, kafka.topic_prefix, str(ledger)], stdout=subprocess.PIPE
    )
    while process.poll() is None and not topic_content(kafka):
        time.sleep(0.2)
    process.send_signal(number)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    counts = json.loads(output)
    rows = read_producer_ledger(ledger).to_pylist()
    assert {(row["partition"], row["offset"]) for row in rows} == topic_content(kafka).keys()
    assert counts["impressions"] == sum(row["kind"] == "impression" for row in rows) > 0
    assert counts["unsent"] == 0
