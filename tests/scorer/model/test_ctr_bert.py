import pytest
import torch
from transformers import BertConfig, BertModel

from scorer.model.batch import collate
from scorer.model.numeric_statistics import NumericStatistics
from tests.doubles import TinyModel, tiny_bundle, tiny_impression


@pytest.fixture
def rows(tmp_path):
    return tiny_bundle(tmp_path).featurizer.encode([tiny_impression(index) for index in range(12)])


def batch_of(rows):
    return collate(rows, NumericStatistics(()))


def reference_hidden(model, batch):
    """What transformers itself computes, padding and all."""
    sep = model.config.sep_token_id
    types = [[int(sep in ids[:place]) for place in range(len(ids))] for ids in batch.ids_BT.tolist()]
    reference = BertModel(BertConfig(**model.config.bert), add_pooling_layer=False).eval()
    reference.load_state_dict(model.bert.state_dict())
    return reference(
        input_ids=batch.ids_BT, attention_mask=batch.mask_BT.long(), token_type_ids=torch.tensor(types)
    ).last_hidden_state


def test_the_encoder_without_padding_equals_that_of_transformers(rows):
    model, batch = TinyModel(), batch_of(rows)
    hidden = reference_hidden(model, batch)
    real = batch.mask_BT.unsqueeze(2)
    expected = (hidden * real).sum(1) / real.sum(1)
    torch.testing.assert_close(model(batch).h_BD, expected, atol=1e-5, rtol=1e-5)


def test_cls_pooling_takes_the_first_token(rows):
    model, batch = TinyModel(pooling="cls"), batch_of(rows)
    torch.testing.assert_close(model(batch).h_BD, reference_hidden(model, batch)[:, 0], atol=1e-5, rtol=1e-5)


def test_a_row_scores_the_same_alone_and_in_company(rows):
    model = TinyModel()
    together = model(batch_of(rows)).z_B
    alone = torch.cat([model(batch_of([row])).z_B for row in rows])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)


def test_position_adds_to_the_logit_whatever_the_text(tmp_path):
    bundle = tiny_bundle(tmp_path)
    z = {}
    for position in (1, 3):
        impressions = [tiny_impression(index, position=position) for index in range(8)]
        z[position] = bundle.model(batch_of(bundle.featurizer.encode(impressions))).z_B
    terms = bundle.model.position_logit.weight[:, 0]
    torch.testing.assert_close(z[3] - z[1], (terms[3] - terms[1]).expand(8), atol=1e-5, rtol=1e-5)


def test_numeric_features_join_the_head(tmp_path):
    bundle = tiny_bundle(tmp_path, numeric=("price",))
    bundle.statistics.update(
        bundle.featurizer.encode([tiny_impression(numeric={"price": price}) for price in (1.0, 2.0, 3.0)])
    )
    rows = bundle.featurizer.encode([tiny_impression(numeric={"price": price}) for price in (1.0, 3.0)])
    scores = bundle.model(collate(rows, bundle.statistics))
    difference = scores.h_BD[1, -2] - scores.h_BD[0, -2]
    torch.testing.assert_close(scores.z_B[1] - scores.z_B[0], difference * bundle.model.head.weight[0, -2])


@pytest.mark.parametrize(
    ("mode", "changes", "encoder"),
    [
        ("head", {}, ()),
        ("last_k", {"trained_layers": 1}, ("bert.encoder.layer.1.",)),
        ("last_k", {"trained_layers": 5}, ("bert.encoder.layer.",)),
        ("full", {}, ("bert.encoder.",)),
        ("full", {"train_embeddings": True}, ("bert.",)),
    ],
)
def test_what_learns_is_the_head_and_the_chosen_part_of_the_encoder(mode, changes, encoder):
    model = TinyModel(trained=mode, **changes)
    prefixes = ("head.", "position_logit.", *encoder)
    expected = {name for name, _ in model.named_parameters() if name.startswith(prefixes)}
    assert set(model.trainable_parameters()) == expected
    assert {name for name, parameter in model.named_parameters() if parameter.requires_grad} == expected


def test_a_gradient_reaches_all_that_learns_and_nothing_else(rows):
    model = TinyModel()
    model(batch_of(rows)).z_B.sum().backward()
    with_gradient = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert with_gradient == set(model.trainable_parameters())


def test_results_are_fp32_under_bf16_arithmetic(rows):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        scores = TinyModel()(batch_of(rows))
    assert (scores.z_B.dtype, scores.h_BD.dtype) == (torch.float32, torch.float32)
