"""The /metrics page of a process."""

from prometheus_client import CollectorRegistry, ProcessCollector, start_http_server

from stream.settings import MetricsSettings


def process_registry() -> CollectorRegistry:
    """Return a registry that already holds this process's memory, CPU time and open files."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    return registry


def serve_metrics(settings: MetricsSettings, default_port: int, registry: CollectorRegistry) -> int:
    """Serve the registry on /metrics from a daemon thread, and return the port.

    Args:
        settings: Address and port; a port of 0 picks a free one.
        default_port: Used when the settings name none.
        registry: What to show.

    Raises:
        ValueError: if the port cannot be bound.
    """
    port = default_port if settings.port is None else settings.port
    try:
        server, _ = start_http_server(port, settings.host, registry)
    except OSError as error:
        message = (
            f"metrics cannot listen on {settings.host}:{port} ({error.strerror}); "
            "set MILLSTREAM_METRICS_PORT to a free port, or 0 to pick one"
        )
        raise ValueError(message) from error
    return int(server.server_port)
