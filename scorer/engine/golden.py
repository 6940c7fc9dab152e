"""The golden query: fixed model inputs that every version answers when it is published and again before it serves.

Equal answers say that the version survived the journey: same weights, same tokenizer, same arithmetic on this machine.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from scorer.engine.engine import forward_rows
from scorer.model.bundle import ModelBundle
from scorer.model.feature_spec import FeatureSpec

TOLERANCE = 0.01
"""Largest difference of a logit, absolute plus relative: fp32 on another processor differs by far less, a wrong
tensor by more."""


@dataclass(frozen=True)
class GoldenInput:
    """One model input of the golden query."""

    query: str
    item_text: str
    history: tuple[str, ...]
    position: int
    numeric: Mapping[str, float | None] = field(default_factory=dict)


_INPUTS = (
    GoldenInput("", "Wireless headphones, black", (), 0),
    GoldenInput("red scarf", "Wool scarf, hand-knitted", ("Winter gloves", "Cashmere hat"), 1),
    GoldenInput("über größe 日本", "The quick brown fox jumps over the lazy dog 0123456789", ("🙂",), 7),
    GoldenInput("a", "b", (), 10_000),
)


def golden_inputs(spec: FeatureSpec) -> list[GoldenInput]:
    """Return the fixed inputs, with every numeric feature missing in some and present in others."""
    return [
        replace(row, numeric={name: float(index) for name in spec.numeric} if index % 2 else {})
        for index, row in enumerate(_INPUTS)
    ]


def golden_z(bundle: ModelBundle) -> tuple[float, ...]:
    """Return the logits of the golden query, in fp32 whatever the bundle's precision."""
    rows = bundle.featurizer.encode(golden_inputs(bundle.featurizer.spec))
    z, _ = forward_rows(bundle, rows, max_batch_tokens=bundle.featurizer.spec.max_tokens * len(rows), precision="fp32")
    return tuple(z.tolist())


def golden_problem(found: Sequence[float], published: Sequence[float]) -> str | None:
    """Return what is wrong with the answers to the golden query, or None."""
    if len(found) != len(published):
        return f"{len(found)} answers to the golden query, {len(published)} were published"
    for index, (new, old) in enumerate(zip(found, published, strict=True)):
        if not math.isfinite(new) or abs(new - old) > TOLERANCE * (1 + abs(old)):
            return f"golden input {index} has logit {new:.6g}, published as {old:.6g}"
    return None
