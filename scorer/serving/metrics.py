"""Metrics of the HTTP service."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from scorer.live.metrics import SECONDS_BUCKETS, ModelMetrics

ROUTES = ("/score", "/rank", "/model", "/healthz", "/readyz", "other")
"""A path that is none of ours counts as other: a scanner must not make a label of every path it tries."""


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
            buckets=SECONDS_BUCKETS,
            registry=registry,
        )
        for route in ROUTES:
            self.request_seconds.labels(route)
        self.rows = Counter("millstream_service_rows_total", "Rows scored", registry=registry)
        self.in_flight = Gauge(
            "millstream_service_in_flight_requests", "Requests scored or waiting to be", registry=registry
        )
