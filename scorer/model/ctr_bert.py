"""CtrBert: a BERT over query, item and history, with a linear click head.

Shapes: B rows, N tokens of all rows together, D width of the encoder, F numeric inputs of the head (values and
missing flags); T tokens of the longest row.
"""

from dataclasses import dataclass
from typing import Any

import msgspec
import torch
from torch import Tensor, nn

from scorer.model.batch import Batch
from scorer.model.encoder import Encoder, EncoderConfig, Tokens
from scorer.model.pretrained import Pretrained
from scorer.model.settings import ModelSettings, Pooling, TrainedPart


class CtrConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Architecture of a CtrBert, and which part of it learns. Part of every version.

    Attributes:
        bert: Configuration of the encoder, as `transformers.BertConfig` names it.
        pooling: How token vectors become one.
        num_numeric: Numeric features (each gives the head a value and a missing flag).
        max_position: Largest position told apart.
        sep_token_id: Ends a segment; tells the query (token type 0) from what follows (1).
        trained: Which part learns.
        trained_layers: How many last layers learn under last_k.
        train_embeddings: Whether the embedding tables learn under full.
    """

    bert: dict[str, Any]
    sep_token_id: int
    pooling: Pooling = "mean"
    num_numeric: int = 0
    max_position: int = 32
    trained: TrainedPart = "last_k"
    trained_layers: int = 1
    train_embeddings: bool = False


@dataclass(frozen=True, slots=True)
class Scores:
    """What one forward pass yields.

    Attributes:
        z_B: Logit of a click, float32.
        h_BD: Input of the head: pooled vector, then numeric inputs, float32 [B, D + 2F].
    """

    z_B: Tensor
    h_BD: Tensor


class CtrBert(nn.Module):
    """z = head([pooled BERT vector, numeric]) + position term; p(click) = sigmoid(z).

    Position is an additive term of the logit and never text, so that ranking can ask with one reference position
    (the examination model: what a place adds does not depend on the item). Head and position term start at zero: an
    untrained line says p = 0.5 for everything, and the first update sets the click rate.
    """

    def __init__(self, config: CtrConfig) -> None:
        super().__init__()
        self.config = config
        self.bert = Encoder(EncoderConfig.of(config.bert))
        self.head = nn.Linear(self.bert.config.hidden_size + 2 * config.num_numeric, 1)
        self.position_logit = nn.Embedding(config.max_position + 1, 1)
        for parameter in (self.head.weight, self.head.bias, self.position_logit.weight):
            nn.init.zeros_(parameter)
        trained = self.trainable_parameters()
        for name, parameter in self.named_parameters():
            parameter.requires_grad_(name in trained)
        self.eval()

    def forward(self, batch: Batch) -> Scores:
        """Return the logits and the head's inputs of a batch."""
        is_sep_BT = (batch.ids_BT == self.config.sep_token_id).long()
        # Token type 0 up to and with the first separator (the query), 1 after it.
        type_BT = ((is_sep_BT.cumsum(dim=1) - is_sep_BT) > 0).long().clamp(max=self.bert.config.type_vocab_size - 1)
        tokens = Tokens.of(batch.mask_BT)
        pooled_BD = self._pool(self.bert(batch.ids_BT, type_BT, tokens).float(), tokens)
        h_BD = torch.cat([pooled_BD, batch.numeric_BF], dim=1)
        with torch.autocast(h_BD.device.type, enabled=False):
            z_B = self.head(h_BD).squeeze(1) + self.position_logit(batch.position_B).squeeze(1)
        return Scores(z_B=z_B, h_BD=h_BD)

    def trainable_parameters(self, mode: TrainedPart | None = None) -> dict[str, nn.Parameter]:
        """Return the parameters that learn, by name; by default those of the line's own configuration.

        Those whose name starts with `bert.` are the encoder's, the others the head's.
        """
        mode = mode or self.config.trained
        num_layers = len(self.bert.encoder.layer)
        last = range(max(0, num_layers - self.config.trained_layers), num_layers)
        prefixes = {
            "head": ("head.", "position_logit."),
            "last_k": ("head.", "position_logit.", *(f"bert.encoder.layer.{index}." for index in last)),
            "full": ("head.", "position_logit.", "bert.encoder.")
            + (("bert.embeddings.",) if self.config.train_embeddings else ()),
        }[mode]
        return {name: parameter for name, parameter in self.named_parameters() if name.startswith(prefixes)}

    @classmethod
    def from_pretrained(cls, pretrained: Pretrained, settings: ModelSettings) -> "CtrBert":
        """Return a new model: a pretrained encoder and a zero head."""
        model = cls(
            CtrConfig(
                bert=pretrained.config,
                sep_token_id=pretrained.sep_token_id,
                pooling=settings.pooling,
                num_numeric=len(settings.numeric),
                max_position=settings.max_position,
                trained=settings.trained,
                trained_layers=settings.trained_layers,
                train_embeddings=settings.train_embeddings,
            )
        )
        model.bert.load_state_dict(pretrained.tensors)
        return model

    def _pool(self, token_ND: Tensor, tokens: Tokens) -> Tensor:
        if self.config.pooling == "cls":
            return token_ND[tokens.place_N == 0]
        num_rows, width = tokens.mask_BT.shape[0], token_ND.shape[1]
        total_BD = token_ND.new_zeros(num_rows, width).index_add(0, tokens.row_N, token_ND)
        return total_BD / tokens.mask_BT.sum(dim=1, keepdim=True)
