"""The pure core of the scorer: labeled impressions in, weighted examples out."""

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from typing import Any

import numpy as np

from scorer.engine.engine import Engine
from scorer.importance.strategy import Importance, ScoredRows, Strategy
from scorer.live.roles import Roles
from stream.events import LabeledImpression, RoleScore, WeightedExample
from stream.hashing import hash01


class StrategyError(RuntimeError):
    """The importance strategy failed. Not the fault of the rows: whatever it gave for others would be wrong too."""


class Scoring:
    """Scores every row by the live version, a share of them by the other roles, and weighs what each should teach.

    Knows no Kafka. The live version is asked once per call, so every example of a call names the same one.

    Args:
        roles: Engine of each role; who plays one may change between two calls.
        strategy: Decides what a row teaches.
        frozen_share: Share of rows, by hash of the id, that the roles beside the live one score too.

    Attributes:
        num_tokens: Tokens the live version has scored.
        num_unknown: How many of them were unknown to its tokenizer.
    """

    def __init__(self, roles: Roles[Engine], strategy: Strategy, *, frozen_share: float = 1.0) -> None:
        self.roles = roles
        self.strategy = strategy
        self.num_tokens = 0
        self.num_unknown = 0
        self._frozen_share = frozen_share

    def score(self, labeled: Sequence[LabeledImpression], clock_ms: Callable[[], int]) -> list[WeightedExample]:
        """Return one weighted example per labeled impression, in order.

        Args:
            labeled: At least one labeled impression.
            clock_ms: Wall clock, epoch milliseconds, read once when the scores are made.

        Raises:
            FloatingPointError: a score is not finite. Nothing was weighed: a strategy's running means would keep it.
            StrategyError: the strategy failed.
        """
        scored = self.roles.live.score([row.impression for row in labeled])
        said = {role: self._role_scores(engine, labeled) for role, engine in self.roles.beside_live().items()}
        frozen = said.get("frozen", {})
        if not (np.isfinite(scored.z).all() and np.isfinite(scored.hidden_norm).all()):
            message = f"version {scored.version} gave a score that is not finite; roll back to an earlier version"
            raise FloatingPointError(message)
        labels = np.array([row.label for row in labeled], dtype=np.float64)
        reference_z = np.array([frozen[index].z if index in frozen else np.nan for index in range(len(labeled))])
        rows = ScoredRows(scored.averaged_z, labels, scored.hidden_norm, reference_z, labeled)
        importance = self._weigh(rows)
        scored_ms = clock_ms()
        self.num_tokens += scored.num_tokens
        self.num_unknown += scored.num_unknown
        return [
            WeightedExample(
                labeled=row,
                live=RoleScore(version=scored.version, z=float(scored.z[index])),
                **_by_role(said, index),
                hidden_norm=float(scored.hidden_norm[index]),
                scored_ms=scored_ms,
                strategy=importance.strategy,
                inclusion_probability=float(importance.inclusion_probability[index]),
                importance_weight=float(importance.importance_weight[index]),
                logit_offset=float(importance.logit_offset[index]),
                mean_score=importance.mean_score,
                mean_sigmoid=importance.mean_sigmoid,
            )
            for index, row in enumerate(labeled)
        ]

    def remember(self, examples: Sequence[WeightedExample]) -> None:
        """Let the strategy's running means see rows that were scored before, as if it had weighed them.

        Args:
            examples: In the order in which they were scored. Those of one moment were one micro-batch, and are weighed
                as one.
        """
        for _, batch in groupby(examples, key=lambda example: example.scored_ms):
            self.strategy.weigh(_scored_rows(list(batch)))

    def _weigh(self, rows: ScoredRows) -> Importance:
        try:
            importance = self.strategy.weigh(rows)
            arrays = (importance.inclusion_probability, importance.importance_weight, importance.logit_offset)
        except Exception as error:
            message = f"strategy {self.strategy.name} cannot weigh {len(rows)} rows: {type(error).__name__}: {error}"
            raise StrategyError(message) from error
        if lengths := {array.shape for array in arrays} - {(len(rows),)}:
            message = f"strategy {self.strategy.name} gave arrays of shape {sorted(lengths)} for {len(rows)} rows"
            raise StrategyError(message)
        return importance

    def _role_scores(self, engine: Engine, labeled: Sequence[LabeledImpression]) -> dict[int, RoleScore]:
        impressions = [row.impression for row in labeled]
        chosen = [
            index
            for index, impression in enumerate(impressions)
            if hash01(impression.impression_id, "frozen") < self._frozen_share
        ]
        if not chosen:
            return {}
        scored = engine.score([impressions[index] for index in chosen])
        return {index: RoleScore(version=scored.version, z=float(z)) for index, z in zip(chosen, scored.z, strict=True)}


def _by_role(said: Mapping[str, Mapping[int, RoleScore]], index: int) -> dict[str, Any]:
    return {role: scores.get(index) for role, scores in said.items()}


def _scored_rows(examples: Sequence[WeightedExample]) -> ScoredRows:
    return ScoredRows(
        z=np.array([example.live.z for example in examples]),
        label=np.array([example.labeled.label for example in examples], dtype=np.float64),
        hidden_norm=np.array([example.hidden_norm for example in examples]),
        reference_z=np.array([example.frozen.z if example.frozen else np.nan for example in examples]),
        labeled=[example.labeled for example in examples],
    )
