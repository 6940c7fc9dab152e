"""A pretrained BERT that is small enough for tests of whole runs."""

from pathlib import Path

import pytest
import torch

from tests.doubles import write_tiny_bert


@pytest.fixture(scope="session")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directory of a tiny BERT."""
    torch.manual_seed(3)
    return write_tiny_bert(tmp_path_factory.mktemp("bert"))
