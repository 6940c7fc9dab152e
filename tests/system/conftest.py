"""One running pipeline for each module of system tests."""

from pathlib import Path

import pytest

from tests.doubles import write_tiny_bert
from tests.system.pipeline import BurstShop, Pipeline


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a BERT of one layer whose vocabulary is that of the burst shop's items."""
    return write_tiny_bert(
        tmp_path_factory.mktemp("tiny-bert"), hidden_size=32, num_hidden_layers=1, intermediate_size=64
    )


@pytest.fixture(scope="module")
def pipeline(
    request: pytest.FixtureRequest, kafka_cluster: str, tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory
):
    """The module's pipeline on the tiny BERT; a module's SETTINGS change its environment."""
    settings = {
        "MILLSTREAM_MODEL_PRETRAINED": str(tiny_bert),
        "MILLSTREAM_MODEL_MAX_QUERY_TOKENS": "8",
        "MILLSTREAM_MODEL_MAX_ITEM_TOKENS": "16",
        "MILLSTREAM_MODEL_PRECISION": "fp32",
        **getattr(request.module, "SETTINGS", {}),
    }
    with Pipeline(kafka_cluster, tmp_path_factory.mktemp("home"), settings) as running:
        yield running


@pytest.fixture(scope="module")
def shop(pipeline: Pipeline):
    """A shop that sends bursts into the module's pipeline."""
    with BurstShop(pipeline) as open_shop:
        yield open_shop
