import re

import numpy as np

from scorer.engine.engine import Engine
from scorer.model.settings import ModelSettings
from scorer.registry.new_line import new_line_name, start_line
from scorer.registry.registry import ModelRegistry
from scorer.settings import ScorerSettings
from tests.doubles import tiny_impression

SETTINGS = ModelSettings(device="cpu", precision="fp32", numeric=("price",))


def test_version_0_of_the_default_line_says_one_half_for_everything(tmp_path):
    bundle = start_line(SETTINGS, "0123abcd", tmp_path)
    scored = Engine(bundle, ScorerSettings()).score([tiny_impression(index) for index in range(4)])
    assert (scored.z == 0).all()
    assert (scored.hidden_norm > 0).all()
    assert (bundle.version, bundle.precision) == ("0123abcd-000000", "fp32")


def test_the_same_settings_give_the_same_version(tmp_path):
    registry = ModelRegistry(tmp_path / "registry")
    digests = {
        registry.publish(start_line(SETTINGS, "0123abcd", tmp_path / str(attempt)), created_ms=attempt)
        for attempt in range(2)
    }
    assert len(digests) == 1


def test_automatic_precision_is_measured(tmp_path):
    settings = SETTINGS.model_copy(update={"precision": "auto"})
    assert start_line(settings, new_line_name(), tmp_path).precision in {"fp32", "bf16"}


def test_a_line_name_is_eight_hex_digits_and_new():
    names = {new_line_name() for _ in range(100)}
    assert len(names) == 100
    assert all(re.fullmatch("[0-9a-f]{8}", name) for name in names)


def test_the_warm_line_scores_differ_after_its_head_moves(tmp_path):
    bundle = start_line(SETTINGS, "0123abcd", tmp_path)
    bundle.model.head.weight.data.fill_(0.1)
    z = Engine(bundle, ScorerSettings()).score([tiny_impression(index) for index in range(4)]).z
    assert len(np.unique(z)) == 4
