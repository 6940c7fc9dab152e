"""Settings of scoring: the scorer reads all of them, the engine and the service some."""

from pydantic import Field

from stream.configuration.millstream_settings import MillstreamSettings


class ScorerSettings(MillstreamSettings, group="scorer"):
    """How labeled impressions are scored and weighed."""

    max_batch_tokens: int = Field(
        4096, ge=64, description="tokens of one forward pass, padding included; bounds memory and latency"
    )
    max_batch_rows: int = Field(256, ge=1, description="rows of one micro-batch taken from the stream")
    max_wait_seconds: float = Field(0.2, ge=0, description="how long a micro-batch waits to fill")
    strategy: str = Field("gradnorm_is", description="importance strategy")
    budget: float = Field(0.5, gt=0, le=1, description="expected share of labeled rows that are learned")
    averaged_heads: int = Field(
        1, ge=1, description="last live versions whose heads' mean logit the importance strategy sees; 1 is live alone"
    )
    frozen_share: float = Field(0.25, ge=0, le=1, description="share of rows that the frozen version scores too")
    instance: str = Field(
        "0", min_length=1, description="name of this worker slot: unique in the group, the same after a restart"
    )
    stall_seconds: float = Field(
        120.0, gt=0, description="the process ends itself when rows wait and none has moved for so long"
    )
