"""The arms: what is compared."""

from dataclasses import dataclass

CHARGED = 1 / 3
"""Rows of backward work that scoring one row costs: a forward pass is a third of a forward and backward pass."""


@dataclass(frozen=True)
class Arm:
    """One way to spend the budget.

    Attributes:
        name: In tables.
        strategy: In `scorer.importance.strategies.STRATEGIES`; empty when nothing is learned and the true
            probability is the score.
        extra: Added to the cell's budget.
        fixed: The budget whatever the cell's is; None when it is the cell's.
        reference: Whether an average of past weights scores too.
        heads: Last rounds whose heads' mean logit the strategy sees.
        replays: Whether a share of the budget goes to rows of earlier rounds.
        early: Where clicks are known late: whether a row is learned as not clicked at once, and again when its click
            is known, rather than once its label is complete.
    """

    name: str
    strategy: str
    extra: float = 0.0
    fixed: float | None = None
    reference: bool = False
    heads: int = 1
    replays: bool = False
    early: bool = False

    def budget(self, budget: float) -> float:
        """Return the arm's own budget in a cell."""
        return budget + self.extra if self.fixed is None else self.fixed

    @property
    def learns(self) -> bool:
        """Whether it has a learning rate."""
        return self.strategy not in ("", "no_update")


NO_UPDATE = Arm("no_update", "no_update", fixed=0.0)
FULL = Arm("full", "full", fixed=1.0)
ORACLE = Arm("oracle", "", fixed=0.0)
UNIFORM = Arm("uniform", "uniform")
UNIFORM_CHARGED = Arm("uniform_charged", "uniform", extra=CHARGED)
NEGDOWN = Arm("negdown_offset", "negdown_offset")
GRADNORM = Arm("gradnorm_is", "gradnorm_is")
LCC = Arm("lcc_offset", "lcc_offset")
SEED = Arm("seed_sigmoid", "seed_sigmoid")
NOISE = Arm("noise_fc", "noise_fc")
TOP = Arm("topk_loss", "topk_loss")

COMPARED = (
    SEED,
    NEGDOWN,
    GRADNORM,
    LCC,
    NOISE,
    Arm("rho_ref", "rho_ref", reference=True),
    TOP,
    Arm("recency", "recency", replays=True),
    Arm("density_ratio", "density_ratio", replays=True),
    Arm("placebo", "placebo"),
    Arm("class_placebo", "class_placebo"),
)
"""What is compared with `uniform` at the same backward rows."""

HEADS = Arm("gradnorm_5_heads", "gradnorm_is", heads=5)
"""Scores of several rounds averaged; takes the rate of gradnorm_is."""

PRIMARY = (NO_UPDATE, FULL, ORACLE, UNIFORM, UNIFORM_CHARGED, *COMPARED)
"""Every arm of the primary family and of the real logs (which have no oracle)."""

SECONDARY = (NO_UPDATE, FULL, UNIFORM, UNIFORM_CHARGED, SEED, NEGDOWN, GRADNORM, LCC, NOISE, TOP)

DELAYED = (
    FULL,
    UNIFORM,
    GRADNORM,
    Arm("uniform_early", "uniform", early=True),
    Arm("delay_fnw", "delay_fnw", early=True),
)
"""Where clicks are known late: wait for the label, or learn early negatives, plain or with fake-negative weights."""
