"""The files of a version directory: their names, their digests, and how they reach the disk for good."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from scorer.model.bundle import ModelBundle
from scorer.model.features import TOKENIZER_FILE
from scorer.registry.manifest import sha256_of
from stream.codec import UndecodableError, decoded
from stream.disk.durable_files import sync

CONFIG = "config.json"
FROZEN = "frozen.safetensors"
TRAINED = "trained.safetensors"
STATISTICS = "statistics.json"

SHARED_FILES = (CONFIG, FROZEN, TOKENIZER_FILE)
"""What the versions of a line have in common."""


def write_version_files(bundle: ModelBundle, directory: Path, parent: Path | None) -> dict[str, str]:
    """Write everything but the manifest and return the sha256 of each file.

    Args:
        bundle: What to write.
        directory: An empty directory.
        parent: Directory of the version it was trained from. Tensors that are still the same are linked, not written:
            they are most of a version, and never change in a line.
    """
    model = bundle.model
    trained = model.trainable_parameters()
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    frozen = {name: tensor for name, tensor in tensors.items() if name not in trained}
    write_json(directory / CONFIG, model.config)
    # In the order of the features: the first releases sorted them by name and read them by position.
    write_json(directory / STATISTICS, bundle.statistics.to_json(), order=None)
    (directory / TOKENIZER_FILE).write_bytes(bundle.featurizer.tokenizer_json)
    _save({name: tensors[name] for name in trained}, directory / TRAINED)
    if parent is None or not _link_equal(parent / FROZEN, frozen, directory / FROZEN):
        _save(frozen, directory / FROZEN)
    return {path.name: sha256_of(path) for path in sorted(directory.iterdir())}


def _save(tensors: Mapping[str, Tensor], path: Path) -> None:
    try:
        save_file(dict(tensors), path)
    except SafetensorError as error:
        # It hides the system's error in a text: a full disk must be told as one.
        if found := re.search(r"os error (\d+)", str(error)):
            number = int(found[1])
            raise OSError(number, os.strerror(number), str(path)) from error
        raise


def write_json(path: Path, value: Any, *, order: Literal["deterministic"] | None = "deterministic") -> None:
    """Write plain values or a struct as readable JSON, the same bytes for the same value.

    Args:
        path: Where.
        value: What.
        order: None keeps the order of its keys.
    """
    path.write_bytes(msgspec.json.format(msgspec.json.encode(value, order=order), indent=2))


def sync_tree(directory: Path) -> None:
    """Put the files of a flat directory, and their names, on the disk for good."""
    for path in directory.iterdir():
        sync(path)
    sync(directory)


def _holds(path: Path, tensors: Mapping[str, Tensor]) -> bool:
    with safe_open(path, framework="pt") as stored:
        return set(stored.keys()) == set(tensors) and all(
            torch.equal(stored.get_tensor(name), tensor) for name, tensor in tensors.items()
        )


def _link_equal(stored_path: Path, tensors: Mapping[str, Tensor], path: Path) -> bool:
    if not stored_path.is_file():
        return False
    try:
        if not decoded(stored_path, lambda path: _holds(path, tensors), "a file of tensors"):
            return False
    except UndecodableError:  # the parent is damaged; what is published now need not be
        return False
    try:
        os.link(stored_path, path)
    except OSError:  # a file system without hard links
        return False
    return True
