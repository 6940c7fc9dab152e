"""Settings of the model registry."""

from pathlib import Path

from pydantic import Field

from stream.configuration.millstream_settings import MillstreamSettings
from stream.disk.state_home import place_of


class RegistrySettings(MillstreamSettings, group="registry"):
    """Where the model registry is; each process may see it at a path of its own."""

    directory: Path | None = Field(
        None, description="where this process has the model registry; `registry` in the state directory when unset"
    )

    def root(self) -> Path:
        """Return the directory of the registry."""
        return self.directory or place_of("registry")
