from prometheus_client import CollectorRegistry

from scorer.serving.metrics import ROUTES, ServiceMetrics


def test_every_route_is_shown_before_its_first_request() -> None:
    shown = CollectorRegistry()
    ServiceMetrics(shown)
    for route in ROUTES:
        assert shown.get_sample_value("millstream_service_requests_total", {"route": route, "status": "200"}) == 0
        assert shown.get_sample_value("millstream_service_request_seconds_count", {"route": route}) == 0


def test_swaps_are_counted_under_the_services_own_name() -> None:
    shown = CollectorRegistry()
    ServiceMetrics(shown)
    assert shown.get_sample_value("millstream_service_swaps_total", {"result": "switched"}) == 0
