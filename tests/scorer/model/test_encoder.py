import pytest
import torch
from transformers import BertConfig, BertModel
from transformers.activations import ACT2FN

from scorer.model.encoder import ACTIVATIONS, Encoder, EncoderConfig

FIELDS = {
    "vocab_size": 50,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 64,
}


def test_a_fresh_encoder_has_the_tensors_that_transformers_draws_from_the_same_seed():
    torch.manual_seed(0)
    expected = BertModel(BertConfig(**FIELDS), add_pooling_layer=False)
    torch.manual_seed(0)
    encoder = Encoder(EncoderConfig.of(FIELDS))
    tensors = dict(expected.named_parameters())
    assert [name for name, _ in encoder.named_parameters()] == list(tensors)
    assert encoder.state_dict().keys() == expected.state_dict().keys()
    assert all(torch.equal(parameter, tensors[name]) for name, parameter in encoder.named_parameters())


def test_the_defaults_are_those_of_transformers():
    theirs = BertConfig()
    fields = EncoderConfig.__struct_fields__
    assert EncoderConfig.of({}) == EncoderConfig(**{name: getattr(theirs, name) for name in fields})


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_are_those_of_transformers(name):
    x = torch.linspace(-6, 6, 101)
    assert torch.equal(ACTIVATIONS[name](x), ACT2FN[name](x))


def test_fields_that_do_not_matter_are_passed_over():
    assert EncoderConfig.of(FIELDS | {"use_cache": True, "classifier_dropout": None}) == EncoderConfig.of(FIELDS)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"hidden_act": "swoosh"}, "hidden_act=swoosh is unknown; it must be one of gelu, "),
        ({"num_attention_heads": 3}, "hidden_size=16 is no multiple of num_attention_heads=3"),
        ({"num_attention_heads": 0}, "num_attention_heads"),
        ({"pad_token_id": 50}, "pad_token_id=50 is none of vocab_size=50"),
        ({"vocab_size": "many"}, "vocab_size"),
    ],
)
def test_what_no_bert_can_have_is_refused_by_field(fields, said):
    with pytest.raises(ValueError, match=said):
        EncoderConfig.of(FIELDS | fields)
