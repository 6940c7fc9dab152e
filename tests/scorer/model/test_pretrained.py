import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from transformers import BertConfig, BertModel, logging

from scorer.model.pretrained import pretrained_source, read_pretrained
from scorer.model.settings import ModelSettings
from tests.doubles import VOCABULARY, write_tiny_tokenizer


@pytest.fixture
def bert(tmp_path):
    """A directory as transformers saves a BERT of three layers, pooler included."""
    logging.disable_progress_bar()
    config = BertConfig(
        vocab_size=len(VOCABULARY),
        hidden_size=16,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
    )
    model = BertModel(config)
    model.save_pretrained(tmp_path)
    write_tiny_tokenizer(tmp_path)
    special = {"cls_token": "[CLS]", "sep_token": "[SEP]", "unk_token": "[UNK]", "pad_token": "[PAD]"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "BertTokenizer"} | special))
    return tmp_path, model


def settings(directory, **changes):
    return ModelSettings(pretrained=str(directory), **changes)


def test_the_first_layers_are_kept_with_their_weights(bert):
    directory, original = bert
    pretrained = read_pretrained(settings(directory, num_layers=2))
    assert pretrained.config["num_hidden_layers"] == 2
    assert pretrained.sep_token_id == VOCABULARY.index("[SEP]")
    kept = {name for name in original.state_dict() if "pooler" not in name and "layer.2" not in name}
    assert set(pretrained.tensors) == kept
    assert all(torch.equal(pretrained.tensors[name], original.state_dict()[name]) for name in kept)


def test_zero_layers_means_all(bert):
    assert read_pretrained(settings(bert[0], num_layers=0)).config["num_hidden_layers"] == 3


def test_dropout_is_that_of_the_settings(bert):
    config = read_pretrained(settings(bert[0], dropout=0.25)).config
    assert (config["hidden_dropout_prob"], config["attention_probs_dropout_prob"]) == (0.25, 0.25)


@pytest.mark.parametrize(("field", "value"), [("num_layers", 4), ("max_tokens", 100)])
def test_more_than_the_model_has_is_refused_by_field(bert, field, value):
    with pytest.raises(ValueError, match=rf"model\.{field}={value}, but .* has"):
        read_pretrained(settings(bert[0], **{field: value}))


def change_tensors(directory, change):
    tensors = load_file(directory / "model.safetensors")
    save_file(change(tensors), directory / "model.safetensors", metadata={"format": "pt"})


def without_one_tensor(tensors):
    del tensors["encoder.layer.0.output.dense.weight"]
    return tensors


def test_a_missing_tensor_is_refused_rather_than_drawn_at_random(bert):
    directory, _ = bert
    change_tensors(directory, without_one_tensor)
    with pytest.raises(ValueError, match=r"lacks encoder\.layer\.0\.output\.dense\.weight"):
        read_pretrained(settings(directory))


def test_a_tensor_of_another_shape_is_refused(bert):
    directory, _ = bert
    change_tensors(directory, lambda tensors: tensors | {"embeddings.LayerNorm.bias": torch.zeros(15)})
    with pytest.raises(ValueError, match=r"embeddings\.LayerNorm\.bias of shape \[15\], but .* makes it \[16\]"):
        read_pretrained(settings(directory))


def of_a_bert_with_heads(name):
    name = name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")
    return f"bert.{name}"


def test_half_precision_and_the_names_of_old_files_are_read(bert):
    directory, original = bert
    change_tensors(directory, lambda tensors: {of_a_bert_with_heads(name): t.half() for name, t in tensors.items()})
    tensors = read_pretrained(settings(directory)).tensors
    assert all(torch.equal(tensor, original.state_dict()[name].half().float()) for name, tensor in tensors.items())


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_damaged_file_is_refused_by_name(bert, name):
    directory, _ = bert
    (directory / name).write_bytes(b"{")
    with pytest.raises(ValueError, match=rf"{name} is not "):
        read_pretrained(settings(directory))


def test_a_tokenizer_without_separator_is_refused(bert):
    directory, _ = bert
    path = directory / "tokenizer.json"
    path.write_text(path.read_text().replace("[SEP]", "</s>"))
    with pytest.raises(ValueError, match=r"tokenizer\.json has no \[SEP\] token"):
        read_pretrained(settings(directory))


@pytest.fixture
def older_bert(bert):
    """The same directory as older releases of transformers saved it: no tokenizer.json, but a vocabulary."""
    directory, original = bert
    (directory / "tokenizer.json").unlink()
    (directory / "vocab.txt").write_text("\n".join(VOCABULARY))
    return directory, original


def test_a_directory_with_other_files_is_read_by_transformers(older_bert):
    directory, original = older_bert
    pretrained = read_pretrained(settings(directory, num_layers=2))
    assert Tokenizer.from_buffer(pretrained.tokenizer_json).get_vocab() == {t: k for k, t in enumerate(VOCABULARY)}
    assert pretrained.sep_token_id == VOCABULARY.index("[SEP]")
    assert all(torch.equal(tensor, original.state_dict()[name]) for name, tensor in pretrained.tensors.items())


def test_what_transformers_draws_at_random_is_refused_too(older_bert):
    directory, _ = older_bert
    change_tensors(directory, without_one_tensor)
    with pytest.raises(ValueError, match=r"lacks encoder\.layer\.0\.output\.dense\.weight"):
        read_pretrained(settings(directory))


@pytest.mark.parametrize("whole", [True, False])
def test_another_architecture_is_refused(bert, whole):
    directory, _ = bert
    (directory / "config.json").write_text('{"model_type": "roberta"}')
    if not whole:
        (directory / "tokenizer.json").unlink()
    with pytest.raises(ValueError, match="is a roberta; Millstream serves BERT"):
        read_pretrained(settings(directory))


def test_a_name_that_leads_nowhere_is_refused_with_the_choices(tmp_path):
    with pytest.raises(ValueError, match=r"cannot be read .* name an installed package, a directory"):
        read_pretrained(settings(tmp_path / "nothing"))


def test_the_packaged_model_needs_no_network():
    pretrained = read_pretrained(ModelSettings())
    assert pretrained.config["num_hidden_layers"] == 1
    assert pretrained.tensors["embeddings.word_embeddings.weight"].shape == (30522, 384)


def test_any_other_name_is_left_to_the_hub():
    assert pretrained_source("bert-base-uncased") == "bert-base-uncased"
