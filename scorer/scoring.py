"""The pure core of the scorer: labeled impressions in, weighted examples out."""

from collections.abc import Sequence

import numpy as np

from scorer.engine import Engine
from scorer.importance.strategy import Strategy
from stream.events import LabeledImpression, RoleScore, WeightedExample
from stream.hashing import hash01


class Scoring:
    """Scores every row by the live version, a share of them by the other roles, and weighs what each should teach.

    Knows no Kafka and no clock. The live version is asked once per call, so every example of a call names the same one.

    Args:
        live: Engine of the live version.
        strategy: Decides what a row teaches.
        frozen: Engine of the frozen version; None until there is one.
        control: Engine of the uniform control, if one runs.
        frozen_share: Share of rows, by hash of the id, that the frozen version and the control score too.
    """

    def __init__(
        self,
        live: Engine,
        strategy: Strategy,
        *,
        frozen: Engine | None = None,
        control: Engine | None = None,
        frozen_share: float = 1.0,
    ) -> None:
        self.live = live
        self.strategy = strategy
        self.frozen = frozen
        self.control = control
        self._frozen_share = frozen_share

    def score(self, labeled: Sequence[LabeledImpression], now_ms: int) -> list[WeightedExample]:
        """Return one weighted example per labeled impression, in order.

        Args:
            labeled: At least one labeled impression.
            now_ms: Wall clock, written into the examples.
        """
        scored = self.live.score([row.impression for row in labeled])
        labels = np.array([row.label for row in labeled], dtype=np.float64)
        importance = self.strategy.weigh(scored.z, labels, scored.hidden_norm)
        frozen = self._role_scores(self.frozen, labeled)
        control = self._role_scores(self.control, labeled)
        return [
            WeightedExample(
                labeled=row,
                live=RoleScore(version=scored.version, z=float(scored.z[index])),
                frozen=frozen.get(index),
                control=control.get(index),
                hidden_norm=float(scored.hidden_norm[index]),
                scored_ms=now_ms,
                strategy=importance.strategy,
                inclusion_probability=float(importance.inclusion_probability[index]),
                importance_weight=float(importance.importance_weight[index]),
                logit_offset=float(importance.logit_offset[index]),
                mean_score=importance.mean_score,
                mean_sigmoid=importance.mean_sigmoid,
            )
            for index, row in enumerate(labeled)
        ]

    def _role_scores(self, engine: Engine | None, labeled: Sequence[LabeledImpression]) -> dict[int, RoleScore]:
        if engine is None:
            return {}
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
