"""The scorer of a backtest: takes the rows of the next plan from the stream and scores them, in a thread of its own."""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from scorer.registry.version_store import parse_version
from scorer.scoring.scoring import Scoring
from scorer.settings import ScorerSettings
from stream.events import LabeledImpression, RoleScore, WeightedExample
from trainer.backtest.runs.frozen_scores import FrozenScores
from trainer.backtest.runs.predictions import Predictions
from trainer.backtest.runs.showing import Showing, ShownRow
from trainer.backtest.runs.streams import StreamRow
from trainer.plans.example_record import ExampleRecord


@dataclass(frozen=True)
class ScoredRecord:
    """The rows of a plan as one record of `weighted-examples`, with what the record does not tell.

    Attributes:
        record: The record; its time is when the newest of its labels was due, in event time.
        rows: The same rows as the stream gave them, with what they were shown with.
        first_row: Impressions before them in the stream.
        live_version: Number of the version that scored them.
    """

    record: ExampleRecord
    rows: list[ShownRow]
    first_row: int
    live_version: int

    @property
    def num_impressions(self) -> int:
        """How many of the rows are impressions, and not their clicks that come later (revision 1)."""
        return sum(shown.row.labeled.revision == 0 for shown in self.rows)

    def predictions(self, first_copies: Sequence[WeightedExample]) -> Predictions:
        """Return what was said of the impressions among the first copies, beside their final labels.

        Args:
            first_copies: Some of the record's rows, the same objects in the same order.
        """
        wanted = {id(example) for example in first_copies}
        numbers = itertools.count(self.first_row)
        impressions = [
            (next(numbers), shown, example)
            for shown, example in zip(self.rows, self.record.rows, strict=True)
            if shown.row.labeled.revision == 0
        ]
        kept = [(number, shown, example) for number, shown, example in impressions if id(example) in wanted]
        z_live = np.array([example.live.z for *_, example in kept], dtype=np.float64)
        z_shown = np.array([shown.z for _, shown, _ in kept], dtype=np.float64)
        probabilities = [_known(shown.row.click_probability) for _, shown, _ in kept]
        return Predictions(
            index=np.array([number for number, _, _ in kept], dtype=np.int64),
            label=np.array([shown.row.clicked for _, shown, _ in kept], dtype=np.int8),
            z_live=z_live,
            z_served=np.where(np.isnan(z_shown), z_live, z_shown),
            z_frozen=np.array([_z(example.frozen) for *_, example in kept], dtype=np.float64),
            click_probability=np.array(probabilities, dtype=np.float64),
        )


class OfflineScorer:
    """Cuts a stream into records of one plan each and scores them.

    Args:
        rows: The stream after its warm start.
        scoring: The core; its live engine may be replaced between two calls of `score`.
        frozen: The core's frozen engine.
        settings: How micro-batches are cut.
        plan_rows: Rows of a plan.
        first_row: Impressions before the first row in the stream.
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
        self._showing = Showing(rows, settings.max_batch_rows)
        self._scoring = scoring
        self._frozen = frozen
        self._settings = settings
        self._plan_rows = plan_rows
        self._first_row = first_row
        self._number = 0
        self._next: list[ShownRow] = []

    def read(self) -> None:
        """Take the rows of the next plan, and let the frozen version score them: no decision changes what it says."""
        self._next = self._showing.take(self._plan_rows)
        if self._settings.frozen_share >= 1:
            for batch in self._micro_batches():
                self._frozen.look_ahead([row.impression for row in batch])

    def score(self) -> ScoredRecord | None:
        """Score the rows that were read by the version that is live now; None after the last ones.

        What was shown by the time at which the plan is complete is scored by the same version: the next may serve then.
        """
        rows = self._next
        if not rows:
            return None
        examples: list[WeightedExample] = []
        for batch in self._micro_batches():
            due_ms = max(row.label_due_ms for row in batch)
            examples += self._scoring.score(batch, lambda due_ms=due_ms: due_ms)  # type: ignore[misc]
        newest_ms = max(shown.row.labeled.label_due_ms for shown in rows)
        self._showing.show(newest_ms, self._scoring.roles.live)
        record = ExampleRecord(partition=0, offset=self._number, timestamp_ms=newest_ms, rows=tuple(examples))
        _, live_version = parse_version(examples[0].live.version)
        scored = ScoredRecord(record, rows, self._first_row, live_version)
        self._number += 1
        self._first_row += scored.num_impressions
        return scored

    def _micro_batches(self) -> Iterator[list[LabeledImpression]]:
        size = self._settings.max_batch_rows
        for start in range(0, len(self._next), size):
            yield [shown.row.labeled for shown in self._next[start : start + size]]


def _z(score: RoleScore | None) -> float:
    return math.nan if score is None else score.z


def _known(probability: float | None) -> float:
    return math.nan if probability is None else probability
