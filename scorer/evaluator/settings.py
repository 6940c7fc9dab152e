"""Settings of the evaluator."""

from pathlib import Path

from pydantic import Field

from stream.configuration.millstream_settings import MillstreamSettings
from stream.disk.state_home import place_of


class EvaluatorSettings(MillstreamSettings, group="evaluator"):
    """How served scores are judged, and how often."""

    window_rows: int = Field(5_000, ge=100, description="rows of the sliding window that AUC and log loss are over")
    min_rows: int = Field(200, ge=2, description="rows below which no sample is exported")
    horizon_seconds: float = Field(
        600.0, gt=0, description="event time over which repeats are recognised; a first copy older than that is late"
    )
    drift_delta: float = Field(
        0.002, gt=0, lt=1, description="false-alarm probability of a drift detector; smaller is calmer"
    )
    export_seconds: float = Field(1.0, gt=0, description="pause between two evaluations")
    snapshot_seconds: float = Field(10.0, gt=0, description="pause between two snapshots of the evaluator's state")
    stall_seconds: float = Field(
        120.0, gt=0, description="the process ends itself when its loop has not turned for so long"
    )
    directory: Path | None = Field(
        None, description="where the snapshot is kept; `evaluator` in the state directory when unset"
    )

    def state(self) -> Path:
        """Return the directory of the snapshot."""
        return self.directory or place_of("evaluator")
