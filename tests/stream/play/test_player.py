import urllib.request

import pytest

from deploy.local_kafka.broker import free_port
from stream.play.ledger import read_producer_ledger
from stream.play.player import Player, PlayerOptions
from stream.play.producer import EventRecord
from stream.settings import MetricsSettings


@pytest.mark.kafka
def test_leaving_it_sends_what_is_due_and_closes_the_ledger(kafka, tmp_path):
    options = PlayerOptions(window_seconds=1, ledger=tmp_path / "ledger.parquet")
    with Player("test", kafka, MetricsSettings(port=0), options) as player:
        stamp = player.playback.begin(0.0, 1)
        assert stamp is not None
        record = EventRecord(kind="impression", key=b"a", value=b"{}", event_time_ms=stamp, impression_id="a")
        player.playback.schedule(record, stamp + 300)
    assert player.counts().impressions == 1
    assert read_producer_ledger(tmp_path / "ledger.parquet")["impression_id"].to_pylist() == ["a"]


@pytest.mark.kafka
def test_its_metrics_can_be_scraped(kafka, tmp_path):
    port = free_port()
    options = PlayerOptions(window_seconds=1, ledger=tmp_path / "ledger.parquet")
    with (
        Player("test", kafka, MetricsSettings(port=port), options),
        urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as page,
    ):
        text = page.read().decode()
    assert 'millstream_shop_junk_total{kind="late_click"} 0.0' in text
