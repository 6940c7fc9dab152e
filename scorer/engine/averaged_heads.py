"""The heads of the last live versions, averaged: an importance score that a single round's noise moves less."""

from itertools import takewhile

import torch
from torch import Tensor

from scorer.model.ctr_bert import CtrBert

_TENSORS = ("head.weight", "head.bias", "position_logit.weight")


class AveragedHeads:
    """Remembers the head (weight, bias, position term) of the last `num_heads` live versions.

    The mean of their logits on one pooled vector is the logit of their mean, since a head is linear; so K heads cost
    what one does, B x D products for B rows of width D. The pooled vector is the live version's: older heads see it
    through an encoder that has moved on by a few small updates.

    A version that serves again (a rollback) takes the heads that came after it with it: they are what was rolled back.

    Args:
        num_heads: How many are averaged, the live one included; with 1 nothing is kept.
    """

    def __init__(self, num_heads: int) -> None:
        self._num_heads = num_heads
        self._heads: dict[str, tuple[Tensor, ...]] = {}
        self._mean: tuple[Tensor, ...] = ()

    @property
    def versions(self) -> tuple[str, ...]:
        """Versions whose heads are averaged, oldest first; empty while nothing is kept."""
        return tuple(self._heads)

    def remember(self, version: str, model: CtrBert) -> None:
        """Add the head of a version that goes live."""
        if self._num_heads == 1:
            return
        state = model.state_dict()
        heads = list(takewhile(lambda head: head[0] != version, self._heads.items()))
        heads.append((version, tuple(state[name].detach().clone() for name in _TENSORS)))
        self._heads = dict(heads[-self._num_heads :])
        self._mean = tuple(torch.stack(same).mean(dim=0) for same in zip(*self._heads.values(), strict=True))

    def z(self, h_BD: Tensor, position_B: Tensor) -> Tensor | None:
        """Return the mean logit of the heads, float32 [B]; None where the live head is the only one.

        Args:
            h_BD: Input of the head, float32 [B, D].
            position_B: List positions, as the model reads them, [B].
        """
        if len(self._heads) < 2:
            return None
        weight_1D, bias_1, position_P1 = self._mean
        with torch.autocast(h_BD.device.type, enabled=False):
            z_B1: Tensor = torch.nn.functional.linear(h_BD, weight_1D, bias_1) + position_P1[position_B]
        return z_B1.squeeze(1)
