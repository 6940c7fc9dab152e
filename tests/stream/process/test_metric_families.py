import pytest
from prometheus_client import CollectorRegistry

from stream.process.metric_families import MetricFamilies


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


def test_a_metric_is_named_after_its_process(registry: CollectorRegistry):
    families = MetricFamilies(registry, "x")
    families.counter("things_total", "Things").inc()
    families.gauge("lag_records", "Lag").set(3)
    families.histogram("delay_seconds", "Delay", (1, 2)).observe(1.5)
    assert registry.get_sample_value("millstream_x_things_total") == 1
    assert registry.get_sample_value("millstream_x_lag_records") == 3
    assert registry.get_sample_value("millstream_x_delay_seconds_bucket", {"le": "1.0"}) == 0
    assert registry.get_sample_value("millstream_x_delay_seconds_bucket", {"le": "2.0"}) == 1


def test_every_value_of_a_label_is_shown_from_the_start(registry: CollectorRegistry):
    MetricFamilies(registry, "x").counter("requests_total", "Requests", route=("/a", "/b"), status=("200",))
    for route in ("/a", "/b"):
        assert registry.get_sample_value("millstream_x_requests_total", {"route": route, "status": "200"}) == 0


def test_a_label_whose_values_are_not_known_shows_none(registry: CollectorRegistry):
    lag = MetricFamilies(registry, "x").gauge("lag_records", "Lag", partition=())
    assert [sample for family in registry.collect() for sample in family.samples] == []
    lag.labels("3").set(1)
    assert registry.get_sample_value("millstream_x_lag_records", {"partition": "3"}) == 1
