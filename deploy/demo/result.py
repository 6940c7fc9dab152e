"""Reads back from the topics what a demo's processes did: scored rows, freshness, versions."""

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deploy.demo.report import ScoredRows
from scorer.evaluator.freshness import FreshnessTracker
from scorer.evaluator.score_window import served_logit
from stream.cluster.log import LogRecord, TopicLog
from stream.events import EventError, WeightedExample, decode_release
from stream.example_batch import decode_examples
from stream.play.ledger import read_producer_ledger
from stream.settings import KafkaSettings


@dataclass(frozen=True, kw_only=True)
class DemoResult:
    """What the topics hold after a demo.

    Attributes:
        rows: First copy of every weighted example, in event-time order; an early negative by its revised label.
        freshness_seconds: Event-to-served time of every row that a serving version covers.
        promoted: Versions that were announced because the gate promoted them.
        swaps: Versions that took over and scored at least one row.
    """

    rows: ScoredRows
    freshness_seconds: list[float]
    promoted: int
    swaps: int


def read_result(kafka: KafkaSettings, producer_ledger: Path) -> DemoResult:
    """Read the topics from their beginning and join the true click probabilities of the producer's ledger."""
    tracker = FreshnessTracker()
    first_copies: dict[str, WeightedExample] = {}
    revised: set[str] = set()
    freshness: list[float] = []
    promoted: set[str] = set()
    with closing(TopicLog(kafka)) as log:
        for record in log.records("model-releases", log.extent("model-releases")):
            try:
                release = decode_release(record.value)
            except EventError:
                continue
            if release.alias == "champion":
                tracker.add_release(release.version, release.covered_offsets, release.gaps or ())
                if release.reason == "promoted":
                    promoted.add(release.version)
        records = [
            (examples[0].scored_ms, record.partition, record.offset, examples)
            for record in log.records("weighted-examples", log.extent("weighted-examples"))
            if (examples := _examples(record))
        ]
    for scored_ms, partition, offset, examples in sorted(records, key=lambda entry: entry[:3]):
        freshness += tracker.add_rows(partition, offset, [example.labeled.label_due_ms for example in examples])
        freshness += tracker.add_score(examples[0].live.version, scored_ms)
        for example in examples:
            impression_id = example.labeled.impression.impression_id
            if example.labeled.revision:
                revised.add(impression_id)
            else:
                first_copies.setdefault(impression_id, example)
    rows = _scored_rows(list(first_copies.values()), revised, _true_probabilities(producer_ledger))
    swaps = len(set(rows.version.tolist())) - 1
    return DemoResult(rows=rows, freshness_seconds=freshness, promoted=len(promoted), swaps=max(0, swaps))


def _examples(record: LogRecord) -> list[WeightedExample]:
    try:
        return decode_examples(record.value)
    except EventError:  # the trainer has made it a dead letter
        return []


def _true_probabilities(producer_ledger: Path) -> dict[str, float | None]:
    table = read_producer_ledger(producer_ledger)
    columns = (table.column(name).to_pylist() for name in ("kind", "impression_id", "click_probability"))
    return {key: probability for kind, key, probability in zip(*columns, strict=True) if kind == "impression"}


def _scored_rows(
    examples: list[WeightedExample], revised: set[str], probabilities: dict[str, float | None]
) -> ScoredRows:
    examples = sorted(examples, key=lambda example: example.labeled.impression.event_time_ms)
    event_ms = np.array([example.labeled.impression.event_time_ms for example in examples], dtype=np.float64)
    ids = [example.labeled.impression.impression_id for example in examples]
    label = [
        example.labeled.label or impression_id in revised for impression_id, example in zip(ids, examples, strict=True)
    ]
    best = [probabilities.get(impression_id) for impression_id in ids]
    return ScoredRows(
        seconds=(event_ms - event_ms[0]) / 1000 if len(event_ms) else event_ms,
        label=np.array(label, dtype=np.int8),
        live=np.array([example.live.z for example in examples], dtype=np.float64),
        frozen=np.array([example.frozen.z if example.frozen else np.nan for example in examples], dtype=np.float64),
        best=np.array([np.nan if value is None else value for value in best], dtype=np.float64),
        served=np.array([served_logit(example) for example in examples], dtype=np.float64),
        version=np.array([example.live.version for example in examples], dtype=np.str_),
    )
