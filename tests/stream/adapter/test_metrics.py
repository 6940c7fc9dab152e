from prometheus_client import CollectorRegistry

from stream.adapter.metrics import AdapterMetrics


def test_every_outcome_is_there_from_the_start():
    registry = CollectorRegistry()
    AdapterMetrics(registry)
    for outcome in ("impression", "click", "skipped", "dead_letter"):
        assert registry.get_sample_value("millstream_adapter_records_total", {"outcome": outcome}) == 0
