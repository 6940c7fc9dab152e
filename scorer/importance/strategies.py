"""The strategies by name."""

from collections.abc import Callable

from scorer.importance.controls import FixedShare
from scorer.importance.effective_sample_size import WatchedStrategy
from scorer.importance.gradient_norm import GradientNormSampling
from scorer.importance.seed_sigmoid import SeedSigmoid
from scorer.importance.strategy import Strategy

STRATEGIES: dict[str, Callable[[float], Strategy]] = {
    "full": lambda budget: FixedShare("full", 1.0),
    "uniform": lambda budget: FixedShare("uniform", budget),
    "no_update": lambda budget: FixedShare("no_update", 0.0),
    "seed_sigmoid": lambda budget: WatchedStrategy(SeedSigmoid(budget), budget),
    "gradnorm_is": lambda budget: WatchedStrategy(GradientNormSampling(budget), budget),
}
"""What makes each strategy from the budget."""


def build_strategy(name: str, budget: float) -> Strategy:
    """Return a new strategy.

    Args:
        name: One of `STRATEGIES`.
        budget: Expected share of labeled rows that are learned, in (0, 1].

    Raises:
        ValueError: there is no such strategy or budget.
    """
    if name not in STRATEGIES:
        message = f"scorer.strategy={name!r} is not one of {', '.join(STRATEGIES)}"
        raise ValueError(message)
    if not 0 < budget <= 1:
        message = f"scorer.budget={budget} is not a share; set it above 0 and at most 1 (no_update learns nothing)"
        raise ValueError(message)
    return STRATEGIES[name](budget)
