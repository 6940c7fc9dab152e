"""A trainer on a tiny model and a log in memory: everything real but Kafka."""

from collections.abc import Collection, Mapping, Sequence
from functools import cache
from hashlib import sha256
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import torch
from prometheus_client import CollectorRegistry
from safetensors.torch import save

from scorer.model.settings import ModelSettings
from scorer.registry.registry import ModelRegistry
from stream.events import ModelRelease, RoleScore, WeightedExample
from tests.doubles import ManualClock, tiny_bundle, tiny_labeled
from trainer.learning.update import Learner
from trainer.line import ModelLine, first_checkpoint
from trainer.loop import Edges, Trainer
from trainer.metrics import TrainerMetrics
from trainer.plans.example_record import ExampleRecord
from trainer.promotion.commands import Command, CommandResult
from trainer.promotion.publication import Publisher
from trainer.settings import GateSettings, TrainerSettings
from trainer.state.checkpoint import checkpoint_store, current_line, set_current_line
from trainer.state.contract import contract_of
from trainer.state.failpoints import Failpoints
from trainer.state.ledger_chain import chain_tables
from trainer.state.ledger_segments import SCHEMA, SegmentReference
from trainer.state.line_state import Knowledge, LineState
from trainer.state.line_stores import LineStores
from trainer.state.sound_version import load_anchor

TINY_SETTINGS = ModelSettings(max_query_tokens=8, max_item_tokens=16, max_tokens=40)
START_MS = 1_700_000_000_000


def example(index: int, *, label: int | None = None, **changes: object) -> WeightedExample:
    """Return a row that half of the updates learn; the live version knows nothing (z = 0)."""
    values: dict[str, object] = {
        "labeled": tiny_labeled(index, label=label),
        "live": RoleScore(version="00000000-000000", z=0.001 * (index % 13)),
        "hidden_norm": 1.0,
        "scored_ms": START_MS,
        "strategy": "uniform",
        "inclusion_probability": 0.5,
        "importance_weight": 1.0,
    }
    return WeightedExample(**(values | changes))


@cache
def recorded_log(
    num_rows: int, *, rows_per_record: int = 8, num_partitions: int = 2, seed: int = 0
) -> tuple[ExampleRecord, ...]:
    """Return a log whose records have random sizes, partitions and repeats, in offset order inside each partition."""
    random = np.random.default_rng(seed)
    records: list[ExampleRecord] = []
    next_offset = [0] * num_partitions
    index = 0
    while index < num_rows:
        rows = [example(index + k) for k in range(int(random.integers(1, 2 * rows_per_record)))]
        index += len(rows)
        if records and random.random() < 0.1:
            rows += records[int(random.integers(len(records)))].rows[:2]
        partition = int(random.integers(num_partitions))
        time_ms = START_MS + index * 10 + int(random.integers(100))
        records.append(ExampleRecord(partition, next_offset[partition], time_ms, tuple(rows)))
        next_offset[partition] += 1
    return tuple(records)


class MemoryLog:
    """A log of weighted examples in memory; `poll` gives a few records of each partition at a time."""

    def __init__(self, records: Sequence[ExampleRecord], *, num_partitions: int = 2, records_per_poll: int = 3) -> None:
        self.records = list(records)
        self.committed: dict[int, int] = {}
        self._positions = dict.fromkeys(range(num_partitions), 0)
        self._records_per_poll = records_per_poll

    def seek(self, offsets: Mapping[int, int]) -> None:
        self._positions = dict(offsets)

    def poll(self, timeout_seconds: float, partitions: Collection[int]) -> list[ExampleRecord]:
        polled: list[ExampleRecord] = []
        for partition in partitions:
            rest = [r for r in self.records if r.partition == partition and r.offset >= self._positions[partition]]
            taken = rest[: self._records_per_poll]
            polled += taken
            self._positions[partition] += len(taken)
        return polled

    def positions(self) -> dict[int, int]:
        return dict(self._positions)

    def ends(self) -> dict[int, int]:
        ends = dict.fromkeys(self._positions, 0)
        for record in self.records:
            ends[record.partition] = max(ends[record.partition], record.offset + 1)
        return ends

    def commit(self, offsets: Mapping[int, int]) -> None:
        self.committed = dict(offsets)


def spoil_head(line: ModelLine, tensor: str, value: float) -> None:
    """Have a tensor of the head be this value everywhere, in what learns and in what would serve."""
    weights = line._bundle.model.trainable_parameters()
    with torch.no_grad():
        weights[f"head.{tensor}"].fill_(value)
    line._ladder.restart()


def read_segments(directory: Path, last: SegmentReference | None) -> pa.Table:
    """Return every row of the chain of ledger segments that ends in `last`, oldest update first."""
    return pa.concat_tables([SCHEMA.empty_table(), *chain_tables(directory, last)])


class MemoryInbox:
    """Commands in a list."""

    def __init__(self) -> None:
        self.commands: list[Command] = []
        self.answers: list[CommandResult] = []
        self._offset = 0

    def send(self, action: str, **fields: str) -> None:
        self.commands.append(Command(command_id=str(len(self.commands)), action=action, created_ms=START_MS, **fields))

    def poll(self) -> list[tuple[int, Command | None]]:
        new = list(enumerate(self.commands, 1))[self._offset :]
        self._offset = len(self.commands)
        return list(new)

    def answer(self, result: CommandResult) -> None:
        self.answers.append(result)


class ReleaseTopic:
    """The topic of releases as a file of JSON lines, so that it outlives a killed process."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def announce(self, releases: Sequence[ModelRelease]) -> None:
        with self._path.open("ab") as file:
            file.writelines(msgspec.json.encode(release) + b"\n" for release in releases)

    def read(self) -> list[ModelRelease]:
        if not self._path.exists():
            return []
        return [msgspec.json.decode(line, type=ModelRelease) for line in self._path.read_bytes().splitlines()]


class Rig:
    """A trainer's surroundings in one directory. Making it again in the same directory is a restart."""

    def __init__(
        self,
        directory: Path,
        records: Sequence[ExampleRecord],
        *,
        settings: TrainerSettings | None = None,
        gate: GateSettings | None = None,
        failpoints: Failpoints | None = None,
        **model: object,
    ) -> None:
        self.directory = directory
        self.trainer_dir = directory / "trainer"
        self.settings = settings or TrainerSettings(update_rows=64, batch_rows=8, warmup_steps=4)
        self.gate = gate or GateSettings(min_clicks=10)
        self.failpoints = failpoints or Failpoints()
        self.log = MemoryLog(records)
        self.inbox = MemoryInbox()
        self.topic = ReleaseTopic(directory / "releases.jsonl")
        self.clock = ManualClock()
        self.metrics = TrainerMetrics(CollectorRegistry())
        self.registry = ModelRegistry(directory / "registry")
        if not (self.trainer_dir / "line").exists():
            self._begin(**model)
        self.trainer = self._build()

    def publisher(self) -> Publisher:
        announced = {release.alias: release for release in self.topic.read()}
        return Publisher(self.registry, self.topic.announce, announced, self.clock)

    def run_to_end(self) -> None:
        """Run until the whole log is learned; the clock moves so that the last, small plan is cut."""
        ends = self.log.ends()

        def stop() -> bool:
            self.clock.advance(10.0)
            return self.trainer.line.state.offsets == ends

        self.trainer.run(stop)

    def checkpoint_digest(self) -> str:
        """Return the digest of every tensor in the newest checkpoint: weights, optimizer, evidence, first copies."""
        tensors = self.newest_checkpoint().tensors
        return sha256(save({name: tensors[name].contiguous() for name in sorted(tensors)})).hexdigest()

    def newest_checkpoint(self):
        return checkpoint_store(self.trainer_dir, current_line(self.trainer_dir)).load_latest()

    def _begin(self, **model: object) -> None:
        bundle = tiny_bundle(self.directory / "tokenizer", **model)
        publisher = self.publisher()
        publisher.publish(bundle, parent=None, knowledge=Knowledge())
        publisher.move({"champion": bundle.version, "frozen": bundle.version}, "initialised")
        line = bundle.version.split("-")[0]
        state = LineState(
            line=line,
            contract=contract_of(TINY_SETTINGS, bundle, 2),
            offsets={0: 0, 1: 0},
            champion=bundle.version,
            lineage=bundle.version,
        )
        learner = Learner(bundle.model, self.settings, bundle.precision)
        checkpoint_store(self.trainer_dir, line).write(first_checkpoint(bundle, learner, state))
        set_current_line(self.trainer_dir, line)

    def _build(self) -> Trainer:
        line, keep = current_line(self.trainer_dir), self.settings.keep_checkpoints
        stores = LineStores(self.trainer_dir, line, keep=keep, failpoints=self.failpoints)
        checkpoint = stores.checkpoints.load_latest()
        bundle = self.registry.load(checkpoint.state.lineage)
        return Trainer(
            ModelLine(bundle, checkpoint, self.settings, self.gate, load_anchor(self.registry, bundle)),
            checkpoint.name,
            stores,
            Edges(
                source=self.log,
                publisher=self.publisher(),
                inbox=self.inbox,
                metrics=self.metrics,
                clock=lambda: self.clock() / 1000,
                failpoints=self.failpoints,
            ),
            self.settings,
        )
