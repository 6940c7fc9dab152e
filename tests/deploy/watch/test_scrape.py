import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge

from deploy.local_kafka.broker import free_port
from deploy.watch.scrape import scrape
from stream.process.exposition import serve_metrics
from stream.settings import MetricsSettings


@pytest.fixture
def ports() -> dict[str, int]:
    """Metrics of two real servers."""
    found = {}
    for process, swaps in {"scorer": 3, "service": 4}.items():
        registry = CollectorRegistry()
        counter = Counter("millstream_swaps_total", "Swaps", ["process", "result"], registry=registry)
        counter.labels(process, "switched").inc(swaps)
        counter.labels(process, "rejected").inc()
        Gauge(f"millstream_{process}_lag_records", "Lag", registry=registry).set(swaps)
        found[process] = serve_metrics("stream", MetricsSettings(port=0), registry)
    return found


def test_samples_of_every_process_are_read(ports: dict[str, int]):
    found = scrape(ports)
    assert found.get("millstream_scorer_lag_records") == 3
    assert found.get("millstream_swaps_total", process="service", result="switched") == 4
    assert found.missing == set()


def test_a_total_is_over_all_samples_with_these_labels(ports: dict[str, int]):
    assert scrape(ports).total("millstream_swaps_total", result="switched") == 7


def test_what_nobody_exports_is_unknown_and_its_total_0(ports: dict[str, int]):
    found = scrape(ports)
    assert found.get("millstream_nothing") is None
    assert found.total("millstream_nothing") == 0


def test_a_process_that_does_not_answer_is_missing_and_the_others_are_read(ports: dict[str, int]):
    found = scrape({"trainer": free_port(), **ports})
    assert found.missing == {"trainer"}
    assert found.get("millstream_service_lag_records") == 4
