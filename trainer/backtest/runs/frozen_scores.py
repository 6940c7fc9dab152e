"""The frozen version of a backtest: what it says depends on no update, so it may be said early, and said once."""

from collections import deque
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from scorer.engine.engine import Engine, ScoredBatch
from scorer.model.bundle import ModelBundle
from scorer.model.model_input import ModelInput
from scorer.settings import ScorerSettings

Doubles = npt.NDArray[np.float64]


class FrozenScores(Engine):
    """An engine that may score rows before they are asked for, and knows them from another run.

    Rows must be asked for in the order in which they were scored ahead, in the same micro-batches: a row's logit
    depends in its last bits on its neighbours.

    Args:
        bundle: The frozen version.
        settings: `max_batch_tokens` bounds one forward pass.
        known: Logits of all rows that will be asked for, in their order, from a run with the same beginning, whose
            stream and micro-batches are the same; None to compute them.
    """

    def __init__(self, bundle: ModelBundle, settings: ScorerSettings, known: Doubles | None = None) -> None:
        super().__init__(bundle, settings)
        self._known = known
        self._ahead: deque[ScoredBatch] = deque()
        self._said: list[Doubles] = []
        self._num_said = 0

    def look_ahead(self, inputs: Sequence[ModelInput]) -> None:
        """Score the next micro-batch that will be asked for, unless it is known."""
        if self._known is None:
            self._ahead.append(super().score(inputs))

    def score(self, inputs: Sequence[ModelInput]) -> ScoredBatch:
        """Return the scores of the next micro-batch."""
        scored = self._next(inputs)
        self._said.append(scored.z)
        self._num_said += len(scored.z)
        return scored

    @property
    def said(self) -> Doubles:
        """Every logit so far, in order: what another run may know."""
        return np.concatenate(self._said) if self._said else np.empty(0)

    def _next(self, inputs: Sequence[ModelInput]) -> ScoredBatch:
        if self._known is None:
            return self._ahead.popleft() if self._ahead else super().score(inputs)
        z = self._known[self._num_said : self._num_said + len(inputs)]
        nothing = np.full(len(z), np.nan)
        return ScoredBatch(z=z, averaged_z=z, hidden_norm=nothing, version=self.version, num_tokens=0, num_unknown=0)
