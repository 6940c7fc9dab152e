from scorer.model.model_input import ModelInput
from stream.events import Impression
from tests.doubles import tiny_bundle, tiny_impression


class Asked:
    """A row that is no impression, and has no more than the model reads."""

    def __init__(self, impression: Impression) -> None:
        for name in MODEL_INPUTS:
            setattr(self, name, getattr(impression, name))


MODEL_INPUTS = [name for name in vars(ModelInput) if isinstance(vars(ModelInput)[name], property)]


def test_what_is_no_model_input_changes_nothing(tmp_path):
    featurizer = tiny_bundle(tmp_path, numeric=("price",)).featurizer
    impressions = [tiny_impression(index, numeric={"price": 1.0 + index}) for index in range(8)]
    for whole, part in zip(
        featurizer.encode(impressions), featurizer.encode([Asked(each) for each in impressions]), strict=True
    ):
        assert (whole.ids.tolist(), whole.numeric.tolist()) == (part.ids.tolist(), part.numeric.tolist())
        assert (whole.position, whole.num_unknown) == (part.position, part.num_unknown)
