"""What every importance strategy is: scores in, inclusion probability and weight out."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]

State = dict[str, float]
"""Running state of a strategy by name, so that a restarted scorer continues where it was."""

MIN_FACTOR, MAX_FACTOR = 0.1, 10.0
"""Bounds of the product of a strategy's weight factors; the sampling correction is not among them."""


@dataclass(frozen=True, slots=True)
class Importance:
    """What some rows should teach, as arrays of one length.

    Attributes:
        strategy: Name of the strategy that decided; another one's when a strategy fell back.
        inclusion_probability: pi, the probability that the row is learned.
        importance_weight: w, its weight in the loss if it is learned. Over the learned rows w has mean 1.
        logit_offset: Added to z in the training loss only.
        mean_score: Running mean of the importance score that normalised pi; None when the strategy has none.
        mean_sigmoid: Running mean of sigmoid(z) that normalised w; None when the strategy has none.
    """

    strategy: str
    inclusion_probability: Doubles
    importance_weight: Doubles
    logit_offset: Doubles
    mean_score: float | None = None
    mean_sigmoid: float | None = None


class Strategy(Protocol):
    """Decides from one forward pass what every labeled row teaches; the trainer only obeys.

    Running means are kept across calls. A call uses those of the rows before it, then adds its own rows; the very first
    call has only its own. Non-finite rows must not come in.
    """

    @property
    def name(self) -> str:
        """Its name in settings and records."""

    def weigh(self, z: Doubles, label: Doubles, hidden_norm: Doubles) -> Importance:
        """Return what the rows teach.

        Args:
            z: Logits of the live version.
            label: 1 for clicked, 0 for not.
            hidden_norm: L2 norms of the head's inputs.
        """

    def snapshot(self) -> State:
        """Return the running state."""

    def restore(self, state: State) -> None:
        """Continue from a state that `snapshot` gave."""


def compose(
    name: str,
    inclusion_probability: Doubles,
    *,
    sampling_correction: Doubles | float = 1.0,
    factors: tuple[Doubles, ...] = (),
    logit_offset: Doubles | None = None,
    mean_score: float | None = None,
    mean_sigmoid: float | None = None,
) -> Importance:
    """Return the importance whose weight is the sampling correction times the product of the factors.

    The product is clipped once to [MIN_FACTOR, MAX_FACTOR]. The correction budget/pi is never clipped or renormalised:
    that would move the fixed point (a true 1 % click rate was learned as 2 %).
    """
    product = np.ones_like(inclusion_probability)
    for factor in factors:
        product = product * factor
    if factors:
        product = np.clip(product, MIN_FACTOR, MAX_FACTOR)
    return Importance(
        strategy=name,
        inclusion_probability=inclusion_probability,
        importance_weight=product * sampling_correction,
        logit_offset=np.zeros_like(inclusion_probability) if logit_offset is None else logit_offset,
        mean_score=mean_score,
        mean_sigmoid=mean_sigmoid,
    )


def sigmoid(z: Doubles) -> Doubles:
    """Return p(click) of logits, without overflow."""
    return np.exp(-np.logaddexp(0.0, -z))
