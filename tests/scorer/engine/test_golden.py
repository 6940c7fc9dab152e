import math

import pytest
import torch

from scorer.engine.golden import golden_inputs, golden_problem, golden_z
from scorer.model.feature_spec import FeatureSpec
from tests.doubles import tiny_bundle


def test_the_golden_query_has_every_numeric_feature_both_present_and_missing():
    found = {impression.numeric.get("price") is None for impression in golden_inputs(FeatureSpec(numeric=("price",)))}
    assert found == {True, False}


def test_the_answers_are_the_same_each_time(tmp_path):
    bundle = tiny_bundle(tmp_path, numeric=("price",))
    assert golden_problem(golden_z(bundle), golden_z(bundle)) is None


def test_a_changed_weight_changes_the_answers(tmp_path):
    bundle = tiny_bundle(tmp_path)
    published = golden_z(bundle)
    with torch.no_grad():
        bundle.model.head.bias += 0.1
    assert golden_problem(golden_z(bundle), published).startswith("golden input 0 has logit")


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_an_answer_that_is_not_finite_is_a_problem(value):
    assert golden_problem([value], [value]) is not None


def test_another_number_of_answers_is_a_problem():
    assert golden_problem([0.0], [0.0, 0.0]) == "1 answers to the golden query, 2 were published"


def test_rounding_of_another_processor_is_none():
    assert golden_problem([2.001], [2.0]) is None
