"""One running pipeline for each module of system tests."""

from pathlib import Path

import pytest
import torch
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from scorer.model.features import TOKENIZER_FILE
from tests.doubles import VOCABULARY, write_tiny_tokenizer
from tests.system.pipeline import BurstShop, Pipeline


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a BERT of one layer whose vocabulary is that of the burst shop's items."""
    directory = tmp_path_factory.mktemp("tiny-bert")
    write_tiny_tokenizer(directory)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=str(directory / TOKENIZER_FILE),
        unk_token="[UNK]",
        sep_token="[SEP]",
        pad_token="[PAD]",
        cls_token="[CLS]",
        mask_token="[MASK]",
    )
    tokenizer.save_pretrained(directory)
    config = BertConfig(
        vocab_size=len(VOCABULARY),
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        BertModel(config, add_pooling_layer=False).save_pretrained(directory)
    return directory


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
