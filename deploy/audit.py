"""`millstream audit`: reads the topics and the trainer's ledger from the start and proves the conservation law."""

from dataclasses import replace
from pathlib import Path

from deploy.audit_report import AuditReport, named
from deploy.conservation import Conservation, Settled
from deploy.produced import compare_with_producer
from stream.settings import KafkaSettings
from stream.topic_log import Extent, TopicLog, committed_offsets
from stream.topics import TopicKind, topic_name
from trainer.checkpoint import CheckpointError, load_latest
from trainer.ledger import read_ledger

_KINDS: tuple[TopicKind, ...] = ("weighted-examples", "labeled-impressions", "dead-letters", "events")
"""Downstream first: whatever was made from a record of a topic is then inside the extent of the topics before it."""


def run_audit(kafka: KafkaSettings, trainer_dir: Path, producer_ledger: Path | None) -> AuditReport:
    """Return the proof, or what is missing in it. Sound while everything runs.

    How far each reader was is noted before the ends of the topics: what a reader had settled by then has its outcome
    inside the extents, so it is there or it is lost.

    Args:
        kafka: Cluster and topic prefix.
        trainer_dir: The trainer's state; when it holds no model line, nothing was learned.
        producer_ledger: The producer's ledger, when there is one.

    Raises:
        ClusterError: The cluster cannot be reached or a topic does not exist.
        ValueError: A ledger cannot be read.
    """
    trained_up_to, discarded = _trainer_progress(trainer_dir)
    decisions = read_ledger(trainer_dir)
    settled = Settled(
        join=committed_offsets(kafka, "stream", "events"),
        scorer=committed_offsets(kafka, "scorer", "labeled-impressions"),
        trainer=trained_up_to,
    )
    conservation = Conservation(settled, {topic_name(kind, kafka): kind for kind in _KINDS})
    with TopicLog(kafka) as log:
        extents = {kind: log.extent(kind) for kind in _KINDS}
        for record in log.records("dead-letters", extents["dead-letters"]):
            conservation.take_dead_letter(record)
        for record in log.records("events", extents["events"]):
            conservation.take_event(record)
        for record in log.records("labeled-impressions", extents["labeled-impressions"]):
            conservation.take_label(record)
        for record in log.records("weighted-examples", extents["weighted-examples"]):
            conservation.take_examples(record)
    columns = ("line", "impression_id", "revision", "outcome")
    for decision in zip(*(decisions.column(name).to_pylist() for name in columns), strict=True):
        conservation.take_decision(*decision)
    problems = _deleted(extents)
    produced = None
    if producer_ledger is not None:
        produced, differences = compare_with_producer(producer_ledger, conservation)
        problems += differences
    return replace(conservation.report(problems), discarded=discarded, produced=produced)


def _trainer_progress(trainer_dir: Path) -> tuple[dict[int, int], int]:
    """Return up to where, by partition, every example is in the ledger, and the learned rows that were undone."""
    try:
        checkpoint = load_latest(trainer_dir)
    except CheckpointError:
        if (trainer_dir / "line").exists():
            raise
        return {}, 0
    return checkpoint.offsets, checkpoint.state.discarded_rows


def _deleted(extents: dict[TopicKind, Extent]) -> list[str]:
    gone = [f"{kind}/{number}" for kind, extent in extents.items() for number, first in extent.first.items() if first]
    return named("partition", "no longer starting at offset 0: retention deleted what the proof needs", gone)
