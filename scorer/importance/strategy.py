"""What every importance strategy is: scored rows in, inclusion probability and weight out."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt

from stream.events import LabeledImpression

Doubles = npt.NDArray[np.float64]

MIN_FACTOR, MAX_FACTOR = 0.1, 10.0
"""Bounds of the product of all weight factors; the sampling correction is not among them, and 0 stays 0."""


@dataclass(frozen=True, slots=True)
class ScoredRows:
    """All that a strategy may look at: some labeled rows and one forward pass over them, as arrays of one length.

    Attributes:
        z: Logits of the live version, or the mean over the heads of the last versions (`scorer.engine.averaged_heads`).
        label: 1 for clicked, 0 for not.
        hidden_norm: L2 norms of the head's inputs.
        reference_z: Logits of the reference version, NaN where it did not score; None when there is none.
        labeled: The rows themselves, for factors that look at kinds, positions or business rules; may be left out
            where none does.
    """

    z: Doubles
    label: Doubles
    hidden_norm: Doubles
    reference_z: Doubles | None = None
    labeled: Sequence[LabeledImpression] = ()

    def __len__(self) -> int:
        return len(self.z)


@dataclass(frozen=True, slots=True)
class Importance:
    """What some rows should teach, as arrays of one length.

    Attributes:
        strategy: Name of the strategy that decided; another one's when a strategy fell back.
        inclusion_probability: pi, the probability that the row is learned.
        sampling_correction: What makes up for pi, budget / pi for unbiased sampling, else 1. Never clipped or
            renormalised: that would move the fixed point (a true 1 % click rate was learned as 2 %).
        factor: Product of all other weight factors, not yet clipped.
        logit_offset: Added to z in the training loss only.
        mean_score: Running mean of the importance score that normalised pi; None when the strategy has none.
        mean_sigmoid: Running mean of sigmoid(z) that normalised w; None when the strategy has none.
        variance_ratio: `VarianceRatio` of the score that rows are drawn in proportion to; None when there is none.
    """

    strategy: str
    inclusion_probability: Doubles
    sampling_correction: Doubles
    factor: Doubles
    logit_offset: Doubles
    mean_score: float | None = None
    mean_sigmoid: float | None = None
    variance_ratio: float | None = None

    @property
    def importance_weight(self) -> Doubles:
        """w, the weight in the loss of a row that is learned.

        The product of the factors is clipped once, here, to [MIN_FACTOR, MAX_FACTOR]; a factor of exactly 0 (a known
        bot) is a decision and stays 0.
        """
        clipped = np.where(self.factor > 0, np.clip(self.factor, MIN_FACTOR, MAX_FACTOR), 0.0)
        return np.asarray(self.sampling_correction * clipped)

    def times(self, factor: Doubles) -> "Importance":
        """Return the importance with one weight factor more; a row that it silences is not drawn at all."""
        drawn = np.where(factor > 0, self.inclusion_probability, 0.0)
        return replace(self, factor=self.factor * factor, inclusion_probability=drawn)


class Strategy(Protocol):
    """Decides from one forward pass what every labeled row teaches; the trainer only obeys.

    Running means are kept across calls. A call uses those of the rows before it, then adds its own rows; the very first
    call has only its own. Non-finite rows must not come in. All state comes from rows, so a restarted scorer has it
    back after weighing the last ones again.
    """

    name: str
    """Its name in settings and records."""

    def weigh(self, rows: ScoredRows) -> Importance:
        """Return what the rows teach."""


def importance(name: str, inclusion_probability: Doubles) -> Importance:
    """Return an importance in which all but the probability is neutral: correction 1, factor 1, offset 0."""
    ones = np.ones_like(inclusion_probability)
    return Importance(name, inclusion_probability, ones, ones, np.zeros_like(ones))


def sigmoid(z: Doubles) -> Doubles:
    """Return p(click) of logits, without overflow."""
    return np.exp(-np.logaddexp(0.0, -z))
