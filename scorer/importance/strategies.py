"""The strategies by name."""

from collections.abc import Callable
from functools import partial

from scorer.importance.controls import FixedShare
from scorer.importance.delayed_clicks import fake_negative_weight
from scorer.importance.effective_sample_size import WatchedStrategy
from scorer.importance.factors import FactoredStrategy, build_factors
from scorer.importance.gradient_norm import GradientNormSampling
from scorer.importance.local_case_control import LocalCaseControl
from scorer.importance.negative_downsampling import NegativeDownsampling
from scorer.importance.noise_correction import noise_corrected_weight
from scorer.importance.placebo import Placebo
from scorer.importance.reference_loss import reducible_loss_weight
from scorer.importance.seed_sigmoid import SeedSigmoid
from scorer.importance.settings import ImportanceSettings
from scorer.importance.strategy import Strategy
from scorer.importance.top_loss import TopLoss

STRATEGIES: dict[str, Callable[[float, ImportanceSettings], Strategy]] = {
    "full": lambda budget, _: FixedShare("full", 1.0),
    "uniform": lambda budget, _: FixedShare("uniform", budget),
    "no_update": lambda budget, _: FixedShare("no_update", 0.0),
    "seed_sigmoid": lambda budget, _: WatchedStrategy(SeedSigmoid(budget), budget),
    "gradnorm_is": lambda budget, _: WatchedStrategy(GradientNormSampling(budget), budget),
    "negdown_offset": lambda budget, _: NegativeDownsampling(budget),
    "lcc_offset": lambda budget, _: WatchedStrategy(LocalCaseControl(budget), budget),
    "noise_fc": lambda budget, settings: WatchedStrategy(
        FixedShare("noise_fc", budget, partial(noise_corrected_weight, settings)), budget
    ),
    "rho_ref": lambda budget, settings: WatchedStrategy(
        FixedShare("rho_ref", budget, partial(reducible_loss_weight, settings)), budget
    ),
    # Not watched: `uniform` would learn the fake negatives as real ones.
    "delay_fnw": lambda budget, _: FixedShare("delay_fnw", budget, fake_negative_weight),
    # The next two weigh only replayed rows (trainer/learning/replay_weights.py); new ones are drawn uniformly.
    "recency": lambda budget, _: FixedShare("recency", budget),
    "density_ratio": lambda budget, _: FixedShare("density_ratio", budget),
    "topk_loss": lambda budget, _: TopLoss(budget),
    "placebo": lambda budget, _: WatchedStrategy(Placebo(GradientNormSampling(budget), within_class=False), budget),
    "class_placebo": lambda budget, _: WatchedStrategy(
        Placebo(GradientNormSampling(budget), within_class=True), budget
    ),
}
"""What makes each strategy from the budget and the settings."""


def build_strategy(name: str, budget: float, settings: ImportanceSettings | None = None) -> Strategy:
    """Return a new strategy, with the weight factors that the settings turn on.

    Args:
        name: One of `STRATEGIES`.
        budget: Expected share of labeled rows that are learned, in (0, 1].
        settings: Parameters of strategies and factors; read from environment and file by default.

    Raises:
        ValueError: there is no such strategy or budget, or a setting or the rule file is wrong.
    """
    if name not in STRATEGIES:
        message = f"strategy={name!r} is not one of {', '.join(STRATEGIES)}; set MILLSTREAM_SCORER_STRATEGY"
        raise ValueError(message)
    if not 0 < budget <= 1:
        message = f"scorer.budget={budget} is not a share; set it above 0 and at most 1 (no_update learns nothing)"
        raise ValueError(message)
    settings = settings or ImportanceSettings()
    strategy = STRATEGIES[name](budget, settings)
    factors = build_factors(settings)
    return FactoredStrategy(strategy, factors) if factors else strategy
