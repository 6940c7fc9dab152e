import pytest
import torch

from scorer.engine.precision import measure_precision
from tests.doubles import TinyModel


class RiggedClock:
    """Seconds that pass as fast as it is told, by arithmetic in use."""

    def __init__(self, fp32, bf16):
        self._steps = [0.0, fp32, 0.0, bf16]
        self._calls = 0
        self._now = 0.0

    def __call__(self):
        self._now += self._steps[self._calls % 4]
        self._calls += 1
        return self._now


@pytest.mark.parametrize(
    ("fp32", "bf16", "chosen"), [(1.0, 60.0, "fp32"), (1.0, 0.9, "fp32"), (3.0, 1.0, "bf16"), (1.0, 1.0, "fp32")]
)
def test_bf16_is_chosen_only_where_it_is_clearly_faster(fp32, bf16, chosen):
    assert measure_precision(TinyModel(), RiggedClock(fp32, bf16)) == chosen


def test_measuring_leaves_the_model_as_it_was():
    model = TinyModel(num_numeric=2)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    measure_precision(model)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
