"""One micro-batch: records of `labeled-impressions` in, records of `weighted-examples` and `dead-letters` out."""

import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
import structlog

from scorer.engine.golden import golden_inputs
from scorer.scoring.scoring import Scoring, StrategyError
from stream.dead_letters import dead_letter, dead_letter_headers
from stream.events import EventError, LabeledImpression, WeightedExample, decode_labeled
from stream.example_batch import encode_examples
from stream.record import Delivery, Record

Stage = Literal["decode", "forward", "encode"]

Failure = tuple[str, Exception]
"""Reason of a dead letter, and the error behind it."""

_NOT_THE_ROW_S_FAULT = ("unscorable", "unknown_version")
"""Reasons that lie in this process when they strike every row."""


@dataclass(frozen=True, slots=True)
class RawRow:
    """A record of `labeled-impressions` as it was read."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """What became of the rows.

    Attributes:
        examples: Weighted examples, in the order of their rows.
        deliveries: What must be written, one or more records per partition.
        dead_letters: Reasons of the rows that are no examples.
        seconds: Time of each stage.
    """

    examples: list[WeightedExample]
    deliveries: list[Delivery]
    dead_letters: list[str]
    seconds: dict[Stage, float]


class UnscorableError(RuntimeError):
    """No row can be scored though the model answers: something is broken here, and no row is to blame."""


class MicroBatchScorer:
    """Turns raw rows into what must be written for them, all rows in one forward pass under one version.

    A row that cannot be decoded becomes a dead letter and stops no other. So does one that cannot be scored, as long as
    other rows can: of its micro-batch, or, where it is alone in that, the one scored before it.

    Args:
        topic: Full name of the topic the rows come from, for dead letters.
        scoring: Engines and strategy.
        clock_ms: Wall clock, epoch milliseconds.
    """

    def __init__(self, topic: str, scoring: Scoring, clock_ms: Callable[[], int]) -> None:
        self._topic = topic
        self._scoring = scoring
        self._clock_ms = clock_ms
        self._num_unscored = 0  # rows since the last that was scored

    def process(self, rows: Sequence[RawRow]) -> MicroBatch:
        """Return what must be written for the rows, which are at least one.

        Raises:
            StrategyError: the importance strategy failed.
            UnscorableError: none of several rows, in one micro-batch or in a row, can be scored.
            Exception: the live version cannot score anything, so no row is to blame.
        """
        started = time.perf_counter()
        failures: dict[int, Failure] = {}
        labeled = self._decode(rows, failures)
        decoded = time.perf_counter()
        examples = self._score(labeled, failures)
        scored = time.perf_counter()
        deliveries = self._encode(rows, examples, failures)
        self._check_blame(examples, failures)
        deliveries += [self._letter(rows[index], *failure) for index, failure in sorted(failures.items())]
        encoded = time.perf_counter()
        return MicroBatch(
            examples=list(examples.values()),
            deliveries=deliveries,
            dead_letters=[reason for reason, _ in failures.values()],
            seconds={"decode": decoded - started, "forward": scored - decoded, "encode": encoded - scored},
        )

    @staticmethod
    def _decode(rows: Sequence[RawRow], failures: dict[int, Failure]) -> dict[int, LabeledImpression]:
        labeled: dict[int, LabeledImpression] = {}
        for index, row in enumerate(rows):
            try:
                labeled[index] = decode_labeled(row.value)
            except EventError as error:
                failures[index] = ("empty" if not row.value else error.reason, error)
        return labeled

    def _score(self, labeled: dict[int, LabeledImpression], failures: dict[int, Failure]) -> dict[int, WeightedExample]:
        if not labeled:
            return {}
        try:
            examples = self._scoring.score(list(labeled.values()), self._clock_ms)
            return dict(zip(labeled, examples, strict=True))
        except StrategyError:
            raise
        except Exception as error:  # noqa: BLE001 (the rows are judged one by one below)
            structlog.get_logger(__name__).error(
                "micro_batch_failed", rows=len(labeled), message=str(error), exc_info=error
            )
        self._check_model()
        found: dict[int, WeightedExample] = {}
        for index, row in labeled.items():
            try:
                found[index] = self._scoring.score([row], self._clock_ms)[0]
            except StrategyError:
                raise
            except Exception as error:  # noqa: BLE001 (goes to the dead letters with its message)
                failures[index] = ("unscorable", error)
        return found

    def _check_blame(self, examples: Mapping[int, WeightedExample], failures: Mapping[int, Failure]) -> None:
        if examples:
            self._num_unscored = 0
            return
        # Bytes that are no row are somebody's mistake; rows that cannot be scored, or are of a newer release, are ours.
        suspects = [error for reason, error in failures.values() if reason in _NOT_THE_ROW_S_FAULT]
        self._num_unscored += len(suspects)
        if suspects and self._num_unscored > 1:
            message = (
                f"none of the last {self._num_unscored} rows could be scored ({suspects[-1]}); nothing is "
                "acknowledged: mend what the traceback shows, or upgrade this process"
            )
            raise UnscorableError(message) from suspects[-1]

    def _check_model(self) -> None:
        """Raise when the live version cannot even answer the golden query: then no row is to blame."""
        engine = self._scoring.roles.live
        scored = engine.score(golden_inputs(engine.bundle.featurizer.spec))
        if not np.isfinite(scored.z).all():
            message = f"version {scored.version} gives scores that are not finite; roll back to an earlier version"
            raise FloatingPointError(message)

    @staticmethod
    def _encode(
        rows: Sequence[RawRow], examples: dict[int, WeightedExample], failures: dict[int, Failure]
    ) -> list[Delivery]:
        by_partition: dict[int, list[int]] = defaultdict(list)
        for index in examples:
            by_partition[rows[index].partition].append(index)
        deliveries: list[Delivery] = []
        for partition, indices in by_partition.items():
            try:
                values = encode_examples([examples[index] for index in indices])
            except (pa.ArrowException, OverflowError):  # a number of one row has no room in its column
                values = []
                for index in indices:
                    try:
                        values += encode_examples([examples[index]])
                    except (pa.ArrowException, OverflowError) as error:
                        failures[index] = ("unscorable", error)
                        del examples[index]
            deliveries += [Delivery("weighted-examples", partition, Record(None, value)) for value in values]
        return deliveries

    def _letter(self, row: RawRow, reason: str, error: Exception) -> Delivery:
        headers = dead_letter_headers(
            topic=self._topic, partition=row.partition, offset=row.offset, process="scorer", reason=reason, error=error
        )
        return Delivery("dead-letters", None, dead_letter(row.key, row.value, headers))
