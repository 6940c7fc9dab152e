"""The scorer of a backtest: takes the rows of the next plan from the stream and scores them, in a thread of its own."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from scorer.registry import parse_version
from scorer.scoring import Scoring
from scorer.settings import ScorerSettings
from stream.events import LabeledImpression, WeightedExample
from trainer.backtest.frozen_scores import FrozenScores
from trainer.backtest.predictions import Predictions
from trainer.backtest.streams import StreamRow
from trainer.plan import Record


@dataclass(frozen=True)
class ScoredRecord:
    """The rows of a plan as one record of `weighted-examples`, with what the record does not tell.

    Attributes:
        record: The record; its time is when the newest of its labels was due, in event time.
        first_row: Place of its first row in the stream.
        click_probabilities: True probability of each row's click; NaN where nobody knows it.
        live_version: Number of the version that scored it.
    """

    record: Record
    first_row: int
    click_probabilities: list[float]
    live_version: int

    def predictions(self, first_copies: list[WeightedExample]) -> Predictions:
        """Return what was said of the rows that were seen for the first time.

        Args:
            first_copies: These rows, the same objects in the same order.
        """
        wanted = {id(example) for example in first_copies}
        kept = [place for place, example in enumerate(self.record.rows) if id(example) in wanted]
        rows = [self.record.rows[place] for place in kept]
        return Predictions(
            index=np.array(kept, dtype=np.int64) + self.first_row,
            label=np.array([row.labeled.label for row in rows], dtype=np.int8),
            z_live=np.array([row.live.z for row in rows], dtype=np.float64),
            z_frozen=np.array([row.frozen.z if row.frozen else np.nan for row in rows], dtype=np.float64),
            click_probability=np.array([self.click_probabilities[place] for place in kept], dtype=np.float64),
        )


class OfflineScorer:
    """Cuts a stream into records of one plan each and scores them.

    Args:
        rows: The stream after its warm start.
        scoring: The core; its live engine may be replaced between two calls of `score`.
        frozen: The core's frozen engine.
        settings: How micro-batches are cut.
        plan_rows: Rows of a plan.
        first_row: Place of the first row in the stream.
    """

    def __init__(
        self,
        rows: Iterator[StreamRow],
        scoring: Scoring,
        frozen: FrozenScores,
        settings: ScorerSettings,
        *,
        plan_rows: int,
        first_row: int,
    ) -> None:
        self._rows = rows
        self._scoring = scoring
        self._frozen = frozen
        self._settings = settings
        self._plan_rows = plan_rows
        self._first_row = first_row
        self._number = 0
        self._next: list[StreamRow] = []

    def read(self) -> None:
        """Take the rows of the next plan, and let the frozen version score them: no decision changes what it says."""
        self._next = list(itertools.islice(self._rows, self._plan_rows))
        if self._settings.frozen_share >= 1:
            for batch in self._micro_batches():
                self._frozen.look_ahead([row.impression for row in batch])

    def score(self) -> ScoredRecord | None:
        """Score the rows that were read by the version that is live now; None after the last ones."""
        rows, first_row = self._next, self._first_row
        if not rows:
            return None
        examples: list[WeightedExample] = []
        for batch in self._micro_batches():
            due_ms = max(row.label_due_ms for row in batch)
            examples += self._scoring.score(batch, lambda due_ms=due_ms: due_ms)  # type: ignore[misc]
        newest_ms = max(row.labeled.label_due_ms for row in rows)
        record = Record(partition=0, offset=self._number, timestamp_ms=newest_ms, rows=tuple(examples))
        self._number += 1
        self._first_row += len(rows)
        _, live_version = parse_version(examples[0].live.version)
        truth = [np.nan if row.click_probability is None else row.click_probability for row in rows]
        return ScoredRecord(record, first_row, truth, live_version)

    def _micro_batches(self) -> Iterator[list[LabeledImpression]]:
        size = self._settings.max_batch_rows
        for start in range(0, len(self._next), size):
            yield [row.labeled for row in self._next[start : start + size]]
