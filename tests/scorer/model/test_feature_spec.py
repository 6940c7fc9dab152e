from scorer.model.feature_spec import FeatureSpec, feature_spec
from scorer.model.settings import ModelSettings


def test_the_spec_of_a_line_is_taken_from_the_settings():
    settings = ModelSettings(numeric=("price",), max_position=9)
    assert feature_spec(settings) == FeatureSpec(numeric=("price",), max_position=9)
