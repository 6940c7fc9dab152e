from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from stream.join.metrics import JoinMetrics
from stream.process.exposition import process_registry
from stream.process.minute_log import Activity


def test_only_what_rose_since_the_last_line_is_named_by_counter_and_labels():
    registry = CollectorRegistry()
    metrics = JoinMetrics(registry)
    activity = Activity(registry)
    assert activity.since_last() == {}
    metrics.records.labels("click").inc(3)
    metrics.group.rebalances.inc()
    assert activity.since_last() == {"stream_records_click": 3, "stream_rebalances": 1}
    metrics.records.labels("click").inc(2)
    assert activity.since_last() == {"stream_records_click": 2}
    assert activity.since_last() == {}


def test_what_is_no_counter_of_ours_is_left_out():
    registry = process_registry()
    Gauge("millstream_x_lag_records", "", registry=registry).set(7)
    Histogram("millstream_x_delay_seconds", "", registry=registry).observe(1)
    Counter("millstream_x_rows_total", "", ["label"], registry=registry).labels("1").inc()
    assert Activity(registry).since_last() == {"x_rows_1": 1}
