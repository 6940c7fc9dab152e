"""Settings of the HTTP service."""

from pydantic import Field

from stream.configuration.millstream_settings import MillstreamSettings
from stream.configuration.ports import SERVICE_PORT


class ServiceSettings(MillstreamSettings, group="service"):
    """Where the HTTP service listens, and how much it takes on."""

    host: str = Field("127.0.0.1", description="address the service listens on; it has no authentication of its own")
    port: int = Field(SERVICE_PORT, ge=1, le=65535, description="port the service listens on")
    max_rows: int = Field(1_000, ge=1, description="rows of one request; more are refused with 413")
    max_body_bytes: int = Field(
        4 * 1024 * 1024, ge=1_024, description="bytes of one request; more are refused with 413"
    )
    max_concurrent: int = Field(
        32, ge=1, description="requests scored or waiting to be; more are refused with 503 and Retry-After"
    )
    reference_position: int = Field(1, ge=0, description="position every item is asked with when the service ranks")
    drain_seconds: int = Field(
        10, ge=0, description="how long requests under way may take once the service is told to stop"
    )
