"""`millstream audit`: reads the topics and the trainer's ledger from the start and proves the conservation law."""

import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from deploy.audit.conservation import Conservation, Decision, Settled
from deploy.audit.produced import compare_with_producer
from deploy.audit.report import AuditReport, named
from deploy.audit.start import count_start, letters_since
from stream.cluster.log import TopicLog, committed_offsets
from stream.settings import KafkaSettings
from stream.topics import TopicKind, topic_name
from trainer.state.checkpoint import CheckpointError, load_latest
from trainer.state.ledger import ledger_tables
from trainer.state.line_state import LineState

_KINDS: tuple[TopicKind, ...] = ("weighted-examples", "labeled-impressions", "dead-letters", "events")
"""Downstream first: whatever was made from a record of a topic is then inside the extent of the topics before it."""


def run_audit(kafka: KafkaSettings, trainer_dir: Path, producer_ledger: Path | None) -> AuditReport:
    """Return the proof, or what is missing in it. Sound while everything runs.

    How far each reader was is noted before the ends of the topics: what a reader had settled by then has its outcome
    inside the extents, so it is there or it is lost. Where retention has deleted, the count begins at the first
    impression whose outcomes are all there, and the report says where.

    Args:
        kafka: Cluster and topic prefix.
        trainer_dir: The trainer's state; when it holds no model line, nothing was learned.
        producer_ledger: The producer's ledger, when there is one.

    Raises:
        ClusterError: The cluster cannot be reached or a topic does not exist.
        ValueError: A ledger cannot be read.
    """
    state = _line_state(trainer_dir)
    settled = Settled(
        join=committed_offsets(kafka, "stream", "events"),
        scorer=committed_offsets(kafka, "scorer", "labeled-impressions"),
        trainer=state.offsets if state else {},
        line_start=state.first_offsets if state else {},
    )
    conservation = Conservation(settled, {topic_name(kind, kafka): kind for kind in _KINDS})
    with closing(TopicLog(kafka)) as log:
        retained_ms = time.time_ns() // 1_000_000 - int(kafka.retention_hours * 3_600_000)
        _take_topics(log, conservation, settled.join, retained_ms)
        problems = named("range", "deleted by retention while it was being read; audit again", map(str, log.gone))
    for table in ledger_tables(trainer_dir):
        for decision in zip(*(table.column(name).to_pylist() for name in Decision._fields), strict=True):
            conservation.take_decision(Decision(*decision))
    produced = None
    if producer_ledger is not None:
        produced, differences = compare_with_producer(producer_ledger, conservation)
        problems += differences
    report = conservation.report(problems)
    return replace(report, discarded=state.discarded_rows if state else 0, produced=produced)


def _take_topics(log: TopicLog, conservation: Conservation, joined_up_to: Mapping[int, int], retained_ms: int) -> None:
    """Let every record that is there be counted; `retained_ms` is the record time that retention does not reach."""
    extents = {kind: log.extent(kind) for kind in _KINDS}
    oldest_letters_ms: dict[int, int] = {}
    for record in log.records("dead-letters", extents["dead-letters"]):
        oldest_letters_ms.setdefault(record.partition, record.timestamp_ms)
        conservation.take_dead_letter(record)
    since_ms = letters_since(extents["dead-letters"], oldest_letters_ms, retained_ms)
    conservation.letters_since_ms = since_ms
    conservation.start = count_start(log, extents, joined_up_to, since_ms)
    for record in log.records("events", extents["events"]):
        conservation.take_event(record)
    for record in log.records("labeled-impressions", extents["labeled-impressions"]):
        conservation.take_label(record)
    for record in log.records("weighted-examples", extents["weighted-examples"]):
        conservation.take_examples(record)


def _line_state(trainer_dir: Path) -> LineState | None:
    """Return the state of the model line; None when there is none."""
    try:
        return load_latest(trainer_dir).state
    except CheckpointError:
        if (trainer_dir / "line").exists():
            raise
        return None
