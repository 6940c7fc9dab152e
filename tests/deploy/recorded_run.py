"""A small run of the whole loop as the records it leaves behind, exact unless a test takes something away."""

from collections import defaultdict
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.structs import OffsetAndMetadata

from deploy.audit.conservation import Conservation, Decision, Settled
from scorer.model.feature_spec import FeatureSpec
from stream.cluster.log import LogRecord
from stream.dead_letters import dead_letter_headers
from stream.events import Click, Impression, LabeledImpression, RoleScore, WeightedExample, encode
from stream.example_batch import encode_examples
from stream.play.ledger import LedgerRow as ProducerRow
from stream.play.ledger import LedgerWriter
from stream.settings import KafkaSettings
from stream.topics import TopicKind, topic_name
from trainer.state.checkpoint import Checkpoint, checkpoint_store, set_current_line
from trainer.state.contract import Contract
from trainer.state.ledger import ledger_directory
from trainer.state.ledger_segments import LedgerRow, write_segment
from trainer.state.line_state import LineState

PREFIX = "recorded."
LINE = "00000000"
START_MS = 1_700_000_000_000
PARTITIONS = 2


def impression(name: str) -> Impression:
    return Impression(impression_id=name, event_time_ms=START_MS, item_id="item", item_text="red shoe")


def click(name: str, on: str) -> Click:
    return Click(click_id=name, impression_id=on, event_time_ms=START_MS + 1)


@dataclass
class RecordedRun:
    """Records by topic and partition, and the trainer's decisions.

    Impressions i0..i5, even ones in partition 0: i0 is clicked twice, i1 once, i4 is sent twice. Besides, a late
    click, an orphaned one and a record that is no event. `deleted` names how many of the first records of a topic's
    partition retention has taken, `start` where the count begins then. i0 and i3 are learned, i1, i2 and i4 sampled
    out, i5 waits.
    """

    records: dict[tuple[TopicKind, int], list[tuple[bytes, dict[str, bytes]]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    decisions: list[tuple[str, str, int, str]] = field(default_factory=list)
    deleted: dict[tuple[TopicKind, int], int] = field(default_factory=dict)
    start: dict[int, int] = field(default_factory=dict)
    settled: Settled = field(default_factory=lambda: Settled(join={}, scorer={}, trainer={}))

    def add(self, kind: TopicKind, partition: int, value: bytes, headers: dict[str, bytes] | None = None) -> int:
        records = self.records[kind, partition]
        records.append((value, headers or {}))
        return len(records) - 1

    def dead_letter(self, topic: str, partition: int, offset: int, value: bytes, reason: str) -> None:
        headers = dead_letter_headers(
            topic=topic, partition=partition, offset=offset, process="join", reason=reason, error="why"
        )
        self.add("dead-letters", partition, value, headers)

    def label(self, name: str, *clicks: str) -> None:
        labeled = labeled_impression(name, *clicks)
        self.add("labeled-impressions", labeled.source_partition, encode(labeled))

    def revise(self, name: str, *clicks: str) -> None:
        labeled = labeled_impression(name, *clicks, revision=1)
        self.add("labeled-impressions", labeled.source_partition, encode(labeled))

    def score(self, *names: str, revision: int = 0) -> None:
        for partition in range(PARTITIONS):
            rows = [example(name, revision=revision) for name in names if place(name) == partition]
            for batch in encode_examples(rows):
                self.add("weighted-examples", partition, batch)

    def conservation(self, topic_prefix: str = PREFIX) -> Conservation:
        kinds: tuple[TopicKind, ...] = ("dead-letters", "events", "labeled-impressions", "weighted-examples")
        found = Conservation(self.settled, {f"{topic_prefix}{kind}": kind for kind in kinds})
        takers = (found.take_dead_letter, found.take_event, found.take_label, found.take_examples)
        found.start = self.start
        for kind, take in zip(kinds, takers, strict=True):
            for partition in range(PARTITIONS):
                first = self.deleted.get((kind, partition), 0)
                for offset, (value, headers) in list(enumerate(self.records[kind, partition]))[first:]:
                    take(LogRecord(partition, offset, value, headers))
        for decision in self.decisions:
            found.take_decision(Decision(*decision))
        return found

    def write_to(self, kafka: KafkaSettings) -> None:
        """Write the records to a cluster and commit what the join and the scorer have settled."""
        producer = KafkaProducer(**kafka.client_options(), acks="all")
        for (kind, partition), records in self.records.items():
            for value, headers in records:
                producer.send(
                    topic_name(kind, kafka), value=value, partition=partition, headers=list(headers.items())
                ).get(timeout=30)
        producer.close()
        readers: list[tuple[str, TopicKind, dict[int, int]]] = [
            ("stream", "events", self.settled.join),
            ("scorer", "labeled-impressions", self.settled.scorer),
        ]
        for group, kind, offsets in readers:
            commit(kafka, group, kind, offsets)

    def write_trainer_state(self, trainer_dir: Path) -> None:
        """Write the trainer's ledger and a checkpoint at what it has settled."""
        rows = [LedgerRow(name, revision, outcome, 1, 1.0, 0, 0) for _, name, revision, outcome in self.decisions]
        segment = write_segment(ledger_directory(trainer_dir, LINE), 1, rows, None)
        features = FeatureSpec(
            numeric=(),
            max_query_tokens=4,
            max_item_tokens=4,
            max_history_items=1,
            max_history_tokens=4,
            max_tokens=16,
            max_position=4,
        )
        contract = Contract(pretrained="tiny", tokenizer_sha256="", features=features, partitions=PARTITIONS)
        state = LineState(
            line=LINE,
            contract=contract,
            offsets=self.settled.trainer,
            champion=f"{LINE}-000001",
            lineage=f"{LINE}-000001",
            ledger=segment,
        )
        checkpoint_store(trainer_dir, LINE).write(Checkpoint(state, {}))
        set_current_line(trainer_dir, LINE)


def complete_run(topic_prefix: str = PREFIX) -> RecordedRun:
    """Return a run in which every id has its outcome."""
    run = RecordedRun()
    events = f"{topic_prefix}events"
    for name in ("i0", "i1", "i2", "i3", "i4"):
        run.add("events", place(name), encode(impression(name)))
    run.add("events", 0, encode(impression("i4")))
    for name, on in (("c0", "i0"), ("c1", "i0"), ("c2", "i1")):
        run.add("events", place(on), encode(click(name, on)))
    for name, on, reason in (("c3", "i2", "late_click"), ("c4", "nobody", "orphaned_click")):
        value = encode(click(name, on))
        run.dead_letter(events, 0, run.add("events", 0, value), value, reason)
    run.dead_letter(events, 1, run.add("events", 1, b"junk"), b"junk", "malformed")
    run.settled.join.update({0: len(run.records["events", 0]), 1: len(run.records["events", 1])})
    run.add("events", 1, encode(impression("i5")))
    run.label("i0", "c0", "c1")
    run.label("i1", "c2")
    for name in ("i2", "i3", "i4"):
        run.label(name)
    run.settled.scorer.update({0: 3, 1: 2})
    run.score("i0", "i1", "i2", "i3")
    run.settled.trainer.update({0: 1, 1: 1})
    run.score("i4")
    for name, outcome in (("i0", "trained"), ("i1", "sampled_out"), ("i2", "sampled_out"), ("i3", "trained")):
        run.decisions.append((LINE, name, 0, outcome))
    return run


def early_run(topic_prefix: str = PREFIX) -> RecordedRun:
    """Return a run in early-negative mode in which every id has its outcome.

    Impressions i0..i3, even ones in partition 0. i0 is clicked twice, i1 once; the window of i3 is open. Every first
    label is learned; of the revised ones i0's is learned and i1's sampled out.
    """
    run = RecordedRun()
    for name in ("i0", "i1", "i2"):
        run.add("events", place(name), encode(impression(name)))
    for name, on in (("c0", "i0"), ("c2", "i1")):
        run.add("events", place(on), encode(click(name, on)))
    further = encode(click("c1", "i0"))
    run.dead_letter(f"{topic_prefix}events", 0, run.add("events", 0, further), further, "further_click")
    run.settled.join.update({0: len(run.records["events", 0]), 1: len(run.records["events", 1])})
    run.add("events", 1, encode(impression("i3")))
    names = ("i0", "i1", "i2", "i3")
    for name in names:
        run.label(name)
    run.revise("i0", "c0")
    run.revise("i1", "c2")
    run.settled.scorer.update({0: 3, 1: 3})
    run.score(*names)
    run.score("i0", "i1", revision=1)
    run.settled.trainer.update({0: 2, 1: 2})
    run.decisions += [(LINE, name, 0, "trained") for name in names]
    run.decisions += [(LINE, "i0", 1, "trained"), (LINE, "i1", 1, "sampled_out")]
    return run


def labeled_impression(name: str, *clicks: str, revision: int = 0) -> LabeledImpression:
    return LabeledImpression(
        impression=impression(name),
        label=1 if clicks else 0,
        kind="click" if clicks else None,
        click_ids=clicks,
        label_due_ms=START_MS + 3000,
        source_partition=place(name),
        source_offset=0,
        revision=revision,
    )


def example(name: str, *, revision: int = 0) -> WeightedExample:
    return WeightedExample(
        labeled=labeled_impression(name, revision=revision),
        live=RoleScore(version=f"{LINE}-000001", z=0.1),
        hidden_norm=1.0,
        scored_ms=START_MS + 4000,
        strategy="full",
        inclusion_probability=1.0,
        importance_weight=1.0,
    )


def place(name: str) -> int:
    """Return the partition of an impression."""
    return int(name.removeprefix("i")) % PARTITIONS


def commit(kafka: KafkaSettings, group: str, kind: TopicKind, offsets: dict[int, int]) -> None:
    """Commit offsets of a consumer group as if it had read so far."""
    consumer = KafkaConsumer(
        **kafka.client_options(), group_id=f"{kafka.topic_prefix}{group}", enable_auto_commit=False
    )
    topic = topic_name(kind, kafka)
    consumer.assign([TopicPartition(topic, number) for number in offsets])
    consumer.commit({TopicPartition(topic, number): OffsetAndMetadata(at, "", -1) for number, at in offsets.items()})
    consumer.close()


def write_producer_ledger(path: Path, labels: dict[str, int]) -> None:
    """Write a producer's ledger of impressions with these labels."""
    with closing(LedgerWriter(path)) as writer:
        for offset, (name, label) in enumerate(labels.items()):
            writer.append(
                ProducerRow(
                    kind="impression",
                    partition=0,
                    offset=offset,
                    event_time_ms=START_MS,
                    impression_id=name,
                    click_id=None,
                    label=label,
                    click_probability=None,
                )
            )
