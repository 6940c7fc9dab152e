import pytest
import torch

from scorer.engine.averaged_heads import AveragedHeads
from tests.doubles import TinyModel

H_BD = torch.randn((5, 16), generator=torch.Generator().manual_seed(0))
POSITION_B = torch.tensor([0, 3, 3, 6, 1])


@pytest.fixture(scope="module")
def models():
    return [TinyModel(seed=seed) for seed in range(4)]


def z_of(model):
    return (model.head(H_BD) + model.position_logit(POSITION_B)).squeeze(1)


def mean_z(*models):
    return torch.stack([z_of(model) for model in models]).mean(dim=0)


def heads_of(num_heads, *versions):
    heads = AveragedHeads(num_heads)
    for version, model in versions:
        heads.remember(version, model)
    return heads


def test_the_mean_head_gives_the_mean_logit(models):
    heads = heads_of(3, *zip("abc", models, strict=False))
    torch.testing.assert_close(heads.z(H_BD, POSITION_B), mean_z(*models[:3]))


def test_the_oldest_head_is_forgotten(models):
    heads = heads_of(2, *zip("abc", models, strict=False))
    assert heads.versions == ("b", "c")
    torch.testing.assert_close(heads.z(H_BD, POSITION_B), mean_z(*models[1:3]))


def test_a_version_that_serves_again_takes_later_heads_away(models):
    heads = heads_of(4, *zip("abca", (*models[:3], models[0]), strict=True))
    assert heads.versions == ("a",)


def test_a_head_is_remembered_as_it_was(models):
    changing = TinyModel(seed=1)
    heads = heads_of(2, ("a", changing))
    with torch.no_grad():
        changing.head.bias.add_(1.0)
    heads.remember("b", changing)
    torch.testing.assert_close(heads.z(H_BD, POSITION_B), z_of(changing) - 0.5)


def test_one_head_alone_is_not_averaged(models):
    assert heads_of(3, ("a", models[0])).z(H_BD, POSITION_B) is None
    off = heads_of(1, ("a", models[0]), ("b", models[1]))
    assert off.versions == ()
    assert off.z(H_BD, POSITION_B) is None
