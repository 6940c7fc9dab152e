import socket
from urllib.request import urlopen

import pytest
from prometheus_client import CollectorRegistry, Counter

from stream.process.exposition import process_registry, serve_metrics
from stream.settings import MetricsSettings


def test_metrics_are_served_on_a_free_port():
    registry = CollectorRegistry()
    Counter("millstream_test_things_total", "Things", registry=registry).inc(3)
    port = serve_metrics("stream", MetricsSettings(port=0), registry)
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as page:
        assert b"millstream_test_things_total 3.0" in page.read()


def test_a_taken_port_is_an_error_that_says_what_to_do():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(ValueError, match=f"127.0.0.1:{port} .* MILLSTREAM_METRICS_PORT"):
            serve_metrics("stream", MetricsSettings(port=port), CollectorRegistry())


def test_an_address_of_another_machine_names_the_host():
    settings = MetricsSettings(host="192.0.2.1", port=0)
    with pytest.raises(ValueError, match=r"192\.0\.2\.1:0 .* MILLSTREAM_METRICS_HOST"):
        serve_metrics("stream", settings, CollectorRegistry())


def test_a_process_shows_its_memory():
    assert (process_registry().get_sample_value("process_resident_memory_bytes") or 0) > 0
