"""Weighted log loss.

Shape legend: B rows of a batch.
"""

import torch
from torch import Tensor
from torch.nn import functional


def weighted_log_loss(z_B: Tensor, label_B: Tensor, weight_B: Tensor, logit_offset_B: Tensor) -> Tensor:
    """Return sum_i w_i BCE(sigmoid(z_i + offset_i), y_i) / B, a scalar.

    The sum is divided by the number of rows, not by the sum of weights: a batch whose rows matter little takes a small
    step, and the gradient stays unbiased. The offset corrects for rows chosen by label; it is no part of the score.
    """
    loss_B = functional.binary_cross_entropy_with_logits(z_B + logit_offset_B, label_B, reduction="none")
    return torch.dot(weight_B, loss_B) / len(z_B)
