"""Metrics of the HTTP service."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from scorer.scoring.metrics import ModelMetrics

ROUTES = ("/score", "/rank", "/model", "/healthz", "/readyz", "other")
"""A path that is none of ours counts as other: a scanner must not make a label of every path it tries."""

_SECONDS_BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)


class ServiceMetrics:
    """What the service counts."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.model = ModelMetrics(registry, "service")
        self.requests = Counter(
            "millstream_service_requests_total", "Requests by route and status", ["route", "status"], registry=registry
        )
        for route in ROUTES:
            self.requests.labels(route, "200")
        self.request_seconds = Histogram(
            "millstream_service_request_seconds",
            "Time of a request, waiting included",
            ["route"],
            buckets=_SECONDS_BUCKETS,
            registry=registry,
        )
        for route in ROUTES:
            self.request_seconds.labels(route)
        self.rows = Counter("millstream_service_rows_total", "Rows scored", registry=registry)
        self.in_flight = Gauge(
            "millstream_service_in_flight_requests", "Requests scored or waiting to be", registry=registry
        )
