"""The /metrics page of a process."""

import errno

from prometheus_client import CollectorRegistry, ProcessCollector, start_http_server

from stream.configuration.ports import METRICS_PORTS
from stream.settings import MetricsSettings


def process_registry() -> CollectorRegistry:
    """Return a registry that already holds this process's memory, CPU time and open files."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    return registry


def serve_metrics(process: str, settings: MetricsSettings, registry: CollectorRegistry) -> int:
    """Serve the registry on /metrics from a daemon thread, and return the port.

    Args:
        process: Its name; it has a port of its own where the settings name none.
        settings: Address and port; a port of 0 picks a free one.
        registry: What to show.

    Raises:
        ValueError: if the port cannot be bound.
    """
    port = METRICS_PORTS[process] if settings.port is None else settings.port
    try:
        server, _ = start_http_server(port, settings.host, registry)
    except OSError as error:
        message = (
            f"metrics cannot listen on {settings.host}:{port} ({error.strerror}); "
            f"set {listening_setting('MILLSTREAM_METRICS', error)}"
        )
        raise ValueError(message) from error
    return int(server.server_port)


def listening_setting(prefix: str, error: OSError) -> str:
    """Return which setting to change, and to what, when a process cannot listen where it should."""
    if error.errno in {errno.EADDRINUSE, errno.EACCES}:
        return f"{prefix}_PORT to a free port above 1023"
    return f"{prefix}_HOST to an address of this machine"
