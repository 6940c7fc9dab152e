"""Version 0 of a new model line: a pretrained encoder and a zero head."""

import secrets
from pathlib import Path

import torch

from scorer.engine.precision import measure_precision
from scorer.model.bundle import ModelBundle
from scorer.model.ctr_bert import CtrBert
from scorer.model.device import prepare_device
from scorer.model.feature_spec import feature_spec
from scorer.model.features import TOKENIZER_FILE, Featurizer
from scorer.model.numeric_statistics import NumericStatistics
from scorer.model.pretrained import read_pretrained
from scorer.model.settings import ModelSettings
from scorer.registry.version_store import version_name


def new_line_name() -> str:
    """Return the name of a new model line: 8 hex digits."""
    return secrets.token_hex(4)


def start_line(settings: ModelSettings, line: str, directory: Path) -> ModelBundle:
    """Return version 0 of a line, ready to publish.

    Args:
        settings: What the line is made of.
        line: Its name.
        directory: Where its tokenizer is written; must last until the version is published.

    Raises:
        ValueError: the settings name no BERT that can be read, or ask for more than it has.
    """
    device = prepare_device(settings)
    torch.manual_seed(settings.seed)
    pretrained = read_pretrained(settings)
    model = CtrBert.from_pretrained(pretrained, settings).to(device)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / TOKENIZER_FILE).write_bytes(pretrained.tokenizer_json)
    return ModelBundle(
        model=model,
        featurizer=Featurizer(directory, feature_spec(settings), cached_segments=settings.cached_segments),
        statistics=NumericStatistics(settings.numeric),
        version=version_name(line, 0),
        precision=measure_precision(model) if settings.precision == "auto" else settings.precision,
    )
