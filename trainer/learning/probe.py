"""The probe: a fixed set of labeled rows whose importance is looked at again as the weights learn."""

from collections.abc import Iterable

import numpy as np

from scorer.engine.engine import forward_rows
from scorer.importance.gradient_norm import gradient_norm
from scorer.importance.stability import Stability, stability
from scorer.importance.strategy import Doubles
from scorer.model.bundle import ModelBundle
from scorer.model.features import EncodedRow
from stream.events import LabeledImpression, WeightedExample
from trainer.settings import TrainerSettings


class ProbeSet:
    """The first rows that are offered, half of them clicked, with their labels as they were.

    What is compared is `gradient_norm`, the score of the default strategy, whichever strategy weighs. Rows may have
    been learned since: the probe tells how far scores move, not how good they are.

    Nothing that is learned depends on the probe, so it is no part of a checkpoint: a restarted process begins a new one
    with the rows that it sees first, and shows nothing until that has been scored twice.

    Args:
        settings: `probe_rows`, half for each label; with 0 nothing is kept and nothing is ever compared.
    """

    def __init__(self, settings: TrainerSettings) -> None:
        self._rows_per_label = settings.probe_rows // 2
        self._max_batch_tokens = settings.judge_batch_tokens
        self._rows: dict[int, list[LabeledImpression]] = {0: [], 1: []}
        self._encoded: list[EncodedRow] = []
        self._before: Doubles | None = None

    def __len__(self) -> int:
        return sum(len(rows) for rows in self._rows.values())

    @property
    def is_full(self) -> bool:
        """Whether every row is there; until then nothing is scored, so that all rounds are of the same rows."""
        return 0 < 2 * self._rows_per_label == len(self)

    def offer(self, examples: Iterable[WeightedExample]) -> None:
        """Keep what still has a place; once the probe is full this does nothing."""
        if self._rows_per_label == 0 or self.is_full:
            return
        for example in examples:
            rows = self._rows[example.labeled.label]
            if len(rows) < self._rows_per_label:
                rows.append(example.labeled)

    def rescore(self, bundle: ModelBundle) -> Stability | None:
        """Score the rows again and return how well the scores agree with those of the last call.

        Costs one forward pass over `probe_rows` rows, and draws nothing.

        Args:
            bundle: The present weights; every call must bring a version of the same line.

        Returns:
            The agreement; None while the probe is not full, on its first scores, and next to scores that are not
            finite.
        """
        if not self.is_full:
            return None
        rows = [row for label in self._rows for row in self._rows[label]]
        if not self._encoded:
            self._encoded = bundle.featurizer.encode([row.impression for row in rows])
        label = np.array([row.label for row in rows], dtype=np.float64)
        z, hidden_norm = forward_rows(bundle, self._encoded, max_batch_tokens=self._max_batch_tokens)
        if not (np.isfinite(z).all() and np.isfinite(hidden_norm).all()):
            self._before = None
            return None
        score = gradient_norm(z, label, hidden_norm)
        before, self._before = self._before, score
        return None if before is None else stability(before, score, label)
