"""Weight factors: what multiplies the weights of whichever strategy is chosen. All are off by default."""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from scorer.importance.rules import load_rules, rule_factor
from scorer.importance.settings import ImportanceSettings
from scorer.importance.strategy import Doubles, Importance, ScoredRows, Strategy
from stream.events import LabeledImpression

Factor = Callable[[Sequence[LabeledImpression]], Doubles]
"""One reason why some rows should teach more or less than others: gives what the weight of every row is multiplied
with, each at least 0."""


def conversion_factor(settings: ImportanceSettings, labeled: Sequence[LabeledImpression]) -> Doubles:
    """Return the weight of the strongest kind of click that came: what led to a sale teaches more.

    A plain click and a non-click weigh 1. It looks at the label, so z learns logit q + log(mean w of a click): a
    ranking by worth, no click probability.
    """
    of_kind = {"cart": settings.cart_weight, "purchase": settings.purchase_weight}
    return np.array([of_kind.get(row.kind or "", 1.0) for row in labeled], dtype=np.float64)


def position_factor(settings: ImportanceSettings, labeled: Sequence[LabeledImpression]) -> Doubles:
    """Return min(1 / e_k, cap) for a click at position k, e_k = (1 / k)^eta; 1 for a non-click or an unknown position.

    Inverse propensity: a click far down was made although few look there, so it speaks for more impressions (Joachims
    et al. 2017, arXiv:1608.04468). It looks at the label, so at position k z learns logit q + log w: the odds of a
    click had everybody looked, while clicks are rare.
    """
    position = np.array([row.impression.position if row.label else 1 for row in labeled], dtype=np.float64)
    return np.minimum(np.maximum(position, 1.0) ** settings.position_eta, settings.position_cap)


class FactoredStrategy:
    """A strategy whose weights are multiplied with factors; what they do not silence is learned as often as before.

    The factors also hold while the strategy has fallen back to `uniform`: a known bot teaches nothing then either.

    Args:
        strategy: The strategy.
        factors: At least one.

    Attributes:
        name: That of the strategy.
        strategy: The strategy without its factors.
    """

    def __init__(self, strategy: Strategy, factors: Sequence[Factor]) -> None:
        self.name = strategy.name
        self.strategy = strategy
        self._factors = factors

    def weigh(self, rows: ScoredRows) -> Importance:
        """Return what the rows teach.

        Raises:
            ValueError: the rows do not carry their labeled impressions.
        """
        if len(rows.labeled) != len(rows):
            message = f"labeled has {len(rows.labeled)} of {len(rows)} rows; weight factors need all of them"
            raise ValueError(message)
        taught = self.strategy.weigh(rows)
        for factor in self._factors:
            taught = taught.times(factor(rows.labeled))
        return taught


def build_factors(settings: ImportanceSettings) -> list[Factor]:
    """Return the factors that the settings turn on.

    Raises:
        RuleError: the rule file cannot be used.
    """
    factors: list[Factor] = []
    if (settings.cart_weight, settings.purchase_weight) != (1.0, 1.0):
        factors.append(partial(conversion_factor, settings))
    if settings.position_eta > 0:
        factors.append(partial(position_factor, settings))
    if settings.rules is not None:
        factors.append(partial(rule_factor, load_rules(settings.rules)))
    return factors
