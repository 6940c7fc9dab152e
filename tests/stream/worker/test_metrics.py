from prometheus_client import CollectorRegistry

from stream.worker.metrics import GroupMetrics


def test_the_groups_of_two_processes_stand_beside_each_other():
    registry = CollectorRegistry()
    GroupMetrics(registry, "stream").rebalances.inc()
    GroupMetrics(registry, "adapter")
    assert registry.get_sample_value("millstream_stream_rebalances_total") == 1
    assert registry.get_sample_value("millstream_adapter_rebalances_total") == 0
