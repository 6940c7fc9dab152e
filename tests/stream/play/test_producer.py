import time
from contextlib import closing

import pytest

from deploy.local_kafka.broker import free_port
from stream.cluster.admin import ClusterError
from stream.events import Click, Impression
from stream.play.ledger import LedgerRow
from stream.play.producer import EventProducer, ProducerCounts, record_of
from stream.settings import KafkaSettings

NOW_MS = 1_700_000_000_000
IMPRESSION = Impression(impression_id="i1", event_time_ms=NOW_MS, item_id="x", item_text="red hat")


class Rows:
    """A ledger and an observer that keep everything."""

    def __init__(self) -> None:
        self.rows: list[LedgerRow] = []
        self.labels: list[int] = []

    def append(self, row: LedgerRow) -> None:
        self.rows.append(row)

    def delivered(self, kind: str) -> None:
        pass

    def failed(self) -> None:
        pass

    def labeled(self, label: int, click_probability: float | None) -> None:
        self.labels.append(label)


def click(delay_ms: int) -> Click:
    return Click(click_id=f"c{delay_ms}", impression_id="i1", event_time_ms=NOW_MS + delay_ms)


def test_a_record_is_keyed_by_the_impression_it_belongs_to():
    assert record_of(IMPRESSION, "impression").key == record_of(click(1), "click").key == b"i1"


def test_counts_are_one_line_of_json():
    assert "\n" not in ProducerCounts(impressions=3).to_json()
    assert '"impressions":3' in ProducerCounts(impressions=3).to_json()


@pytest.mark.kafka
def test_an_impression_is_written_when_its_window_is_over_and_not_before(kafka):
    rows = Rows()
    with closing(EventProducer(kafka, 5.0, rows, rows)) as producer:
        producer.send(record_of(IMPRESSION, "impression", 0.25))
        deadline = time.monotonic() + 30
        while producer.counts().impressions == 0 and time.monotonic() < deadline:
            producer.settle(NOW_MS + 5_000)
            time.sleep(0.01)
        assert rows.rows == []
        producer.settle(NOW_MS + 5_001)
        assert [(row.label, row.click_probability) for row in rows.rows] == [(0, 0.25)]


@pytest.mark.kafka
def test_a_click_in_the_window_makes_the_label_and_a_late_one_does_not(kafka):
    for record, label in ((record_of(click(900), "click"), 1), (record_of(click(9_000), "late_click"), 0)):
        rows = Rows()
        with closing(EventProducer(kafka, 1.0, rows, rows)) as producer:
            producer.send(record_of(IMPRESSION, "impression"))
            producer.send(record)
        assert rows.labels == [label]


@pytest.mark.kafka
def test_a_click_before_its_impression_makes_the_label(kafka):
    rows = Rows()
    with closing(EventProducer(kafka, 1.0, rows, rows)) as producer:
        producer.send(record_of(click(100), "click"))
        producer.send(record_of(IMPRESSION, "impression"))
    assert rows.labels == [1]


@pytest.mark.kafka
def test_a_record_that_kafka_refuses_is_counted_and_not_written(kafka):
    rows = Rows()
    huge = Impression(impression_id="i2", event_time_ms=NOW_MS, item_id="x", item_text="x" * 3_000_000)
    with closing(EventProducer(kafka, 1.0, rows, rows)) as producer:
        producer.send(record_of(huge, "impression"))
    assert producer.counts().failed == 1
    assert rows.rows == []


@pytest.mark.kafka
def test_a_missing_topic_is_refused_with_the_remedy(kafka_cluster):
    with pytest.raises(ClusterError, match="millstream topics apply"):
        EventProducer(KafkaSettings(bootstrap=kafka_cluster, topic_prefix="nothing."), 1.0, Rows(), Rows())


def test_no_kafka_is_refused_with_the_remedy():
    with pytest.raises(ClusterError, match="MILLSTREAM_KAFKA_BOOTSTRAP"):
        EventProducer(KafkaSettings(bootstrap=f"127.0.0.1:{free_port()}"), 1.0, Rows(), Rows())
