"""Metrics of the HTTP service."""

from prometheus_client import CollectorRegistry

from scorer.live.metrics import SECONDS_BUCKETS, ModelMetrics
from stream.process.metric_families import MetricFamilies

ROUTES = ("/score", "/rank", "/model", "/healthz", "/readyz", "other")
"""A path that is none of ours counts as other: a scanner must not make a label of every path it tries."""


class ServiceMetrics:
    """What the service counts."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.model = ModelMetrics(registry, "service")
        families = MetricFamilies(registry, "service")
        self.requests = families.counter(
            "requests_total", "Requests by route and status", route=ROUTES, status=("200",)
        )
        self.request_seconds = families.histogram(
            "request_seconds", "Time of a request, waiting included", SECONDS_BUCKETS, route=ROUTES
        )
        self.rows = families.counter("rows_total", "Rows scored")
        self.unread_numeric_rows = families.counter(
            "unread_numeric_rows_total",
            "Rows with a numeric feature that the model does not read: GET /model names those that it reads",
        )
        self.in_flight = families.gauge("in_flight_requests", "Requests scored or waiting to be")
