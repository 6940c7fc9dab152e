import math

import pytest
import torch
from sklearn.metrics import log_loss

from trainer.learning.loss import weighted_log_loss


def test_with_weights_of_one_it_is_the_log_loss():
    z = torch.tensor([-1.0, 0.3, 2.0, -0.2])
    label = torch.tensor([0.0, 1.0, 1.0, 0.0])
    loss = weighted_log_loss(z, label, torch.ones(4), torch.zeros(4))
    assert float(loss) == pytest.approx(log_loss(label.numpy(), torch.sigmoid(z).numpy()))


def test_a_row_counts_by_its_weight():
    z, label = torch.tensor([0.0, 0.0]), torch.tensor([1.0, 0.0])
    loss = weighted_log_loss(z, label, torch.tensor([3.0, 0.0]), torch.zeros(2))
    assert float(loss) == pytest.approx(1.5 * math.log(2))


def test_a_light_batch_takes_a_small_step():
    z, label = torch.zeros(2, requires_grad=True), torch.ones(2)
    weighted_log_loss(z, label, torch.full((2,), 0.1), torch.zeros(2)).backward()
    assert z.grad.tolist() == pytest.approx([-0.025, -0.025])


def test_the_offset_is_added_to_the_logit_of_the_loss():
    label, weight = torch.tensor([1.0]), torch.ones(1)
    shifted = weighted_log_loss(torch.tensor([0.5]), label, weight, torch.tensor([1.5]))
    assert float(shifted) == pytest.approx(float(weighted_log_loss(torch.tensor([2.0]), label, weight, torch.zeros(1))))
