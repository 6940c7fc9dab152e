"""Bytes that no decoder should meet, and every decoder of the project: a new one is added here.

`decode` of a decoder takes bytes and an empty directory; it returns, or raises one of `errors`.
"""

import gzip
import json
import random
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import numpy as np
import pyarrow.parquet as pq
import pytest
from prometheus_client import CollectorRegistry

from deploy.audit.conservation import Conservation, Settled
from scorer.evaluator.process import read_state
from scorer.evaluator.settings import EvaluatorSettings
from scorer.evaluator.snapshot_file import Snapshot, read_snapshot, write_snapshot
from scorer.evaluator.state import ProgressiveEvaluator
from scorer.importance.rules import RuleError, load_rules
from scorer.model.pretrained import read_pretrained
from scorer.model.settings import ModelSettings
from scorer.registry.version_files import write_version_files
from scorer.registry.version_store import RegistryError, released_root
from stream.adapter.mapping import Mapping, Source, read_mapping
from stream.cluster.log import LogRecord
from stream.codec import UndecodableError
from stream.disk.durable_files import sha256
from stream.events import EventError, decode_event, decode_labeled, decode_release, encode
from stream.example_batch import decode_examples, encode_examples
from stream.join.metrics import JoinMetrics
from stream.join.partition_join import PartitionJoin
from stream.play.ledger import LedgerRow as ProducerRow
from stream.play.ledger import LedgerWriter, read_producer_ledger
from stream.play.recorded_log import LogError, read_log, write_events
from stream.settings import JoinSettings, KafkaSettings
from stream.unknown_fields import UnknownFields
from tests.contracts.test_event_bytes import CLICK, EXAMPLES, IMPRESSION, LABELED, RELEASE
from tests.doubles import tiny_registry, write_tiny_bert
from tests.trainer.rig import read_segments
from tests.trainer.state.test_checkpoint import checkpoint
from trainer.backtest.runs.arms import ArmError, read_arms
from trainer.backtest.runs.beginning import KnownBeginning
from trainer.backtest.runs.predictions import SCHEMA as PREDICTIONS_SCHEMA
from trainer.backtest.runs.predictions import Predictions, write_predictions
from trainer.backtest.runs.results import Results, ResultsError
from trainer.backtest.runs.rounds import rounds_table
from trainer.learning.replay_buffer import ReplayBuffer
from trainer.promotion.commands import Command, decode_command
from trainer.settings import TrainerSettings
from trainer.state.checkpoint import CheckpointError, CheckpointStore, current_line
from trainer.state.ledger_segments import LedgerRow, SegmentReference, write_segment
from trainer.state.plan import Plan, PlanStore
from trainer.tuning.settings_file import write_settings_file

DEEP = 20_000
VALUES: tuple[bytes, ...] = (
    b"null",
    b"true",
    b"-1",
    b"1e308",
    b"1e999",
    b"9" * 30,
    b"9" * 5_000,
    b"NaN",
    b"-Infinity",
    b'""',
    b'"\\ud800"',
    b'"\\u0000"',
    b'"' + b"x" * 70_000 + b'"',
    b"[]",
    b"{}",
    b"[" * 900 + b"]" * 900,
    b"[" * DEEP + b"]" * DEEP,
    b'{"a":' * DEEP + b"1" + b"}" * DEEP,
    b"[" + b"0," * 20_000 + b"0]",
    b"\xff",
)
"""JSON values, sound and not, to stand where another one is expected."""

WHOLE: tuple[bytes, ...] = (
    b"",
    b"\x00",
    b"\x00" * 64,
    b"\xff\xfe",
    b"\xef\xbb\xbf{}",
    b"\x00\x00\x00\x00\x07\x0cimp-1\x02",  # Confluent wire format: magic byte, schema id, Avro
    b"Obj\x01\x04\x14avro.codec\x08null\x16avro.schema\x02{}\x00",  # an Avro container
    b"PAR1\x00\x00\x00\x00PAR1",
    b"PK\x05\x06" + b"\x00" * 18,
    b"\x93NUMPY\x01\x00\x76\x00{'descr': '|O', 'fortran_order': False, 'shape': (1,)}" + b" " * 50 + b"\n",
    b"\xff\xff\xff\xff\x10\x00\x00\x00" + b"\xff" * 32,
    b"\xff" * 8 + b"{}",
    b"a = [" + b"[" * DEEP,
    b'{"type":"impression","type":"click"}',
)
"""Whole inputs that belong to another format, or to none."""


@dataclass(frozen=True)
class Decoder:
    """One place where bytes become values.

    Attributes:
        name: The function, or what is read.
        sound: Makes bytes that it takes.
        decode: Takes bytes and an empty directory.
        errors: What it may raise.
    """

    name: str
    sound: Callable[[Path], bytes]
    decode: Callable[[bytes, Path], object]
    errors: tuple[type[ValueError], ...]


def hostile_variants(sound: bytes, choose: random.Random) -> Iterator[bytes]:
    """Yield the bytes cut, with changed bits, and (where they are JSON) with one value replaced or a key twice."""
    yield sound[: choose.randrange(len(sound) + 1)]
    for _ in range(2):
        changed = bytearray(sound)
        changed[choose.randrange(len(changed))] ^= 1 << choose.randrange(8)
        yield bytes(changed)
    place = choose.randrange(len(sound) + 1)
    yield sound[:place] + choose.choice(VALUES[:12]) + sound[place:]
    try:
        document = json.loads(sound)
    except ValueError:
        return
    yield sound[:-1] + b"," + sound[1:]
    marker = "\x00here"
    yield (
        json.dumps(_replaced(document, choose, marker))
        .encode()
        .replace(json.dumps(marker).encode(), choose.choice(VALUES))
    )


def _replaced(document: Any, choose: random.Random, marker: str) -> Any:
    if isinstance(document, dict) and document and choose.random() < 0.9:
        key = choose.choice(sorted(document))
        return document | {key: _replaced(document[key], choose, marker)}
    if isinstance(document, list) and document and choose.random() < 0.7:
        index = choose.randrange(len(document))
        return [*document[:index], _replaced(document[index], choose, marker), *document[index + 1 :]]
    return marker


def _fixed(raw: bytes) -> Callable[[Path], bytes]:
    return lambda _: raw


def _of_file(write: Callable[[Path], object], name: str) -> Callable[[Path], bytes]:
    def sound(directory: Path) -> bytes:
        write(directory / name)
        return (directory / name).read_bytes()

    return sound


def _in_file(name: str, read: Callable[[Path], object]) -> Callable[[bytes, Path], object]:
    def decode(raw: bytes, directory: Path) -> object:
        (directory / name).write_bytes(raw)
        return read(directory / name)

    return decode


MAPPING = Mapping(
    [
        Source(
            topic="shop",
            event="impression",
            fields={
                "impression_id": "id",
                "event_time_ms": "at",
                "item_id": "item.sku",
                "item_text": "item.titles.0",
                "history": "recent.*.title",
                "numeric.price": "item.price",
            },
            where={"kind": "view"},
            time_unit="iso8601",
        ),
        Source(
            topic="shop",
            event="click",
            fields={"click_id": "$record", "impression_id": "id", "event_time_ms": "ts", "kind": "what"},
            values={"kind": {"open": "click"}},
            time_unit="s",
        ),
    ]
)
VIEW = {
    "kind": "view",
    "id": 7,
    "at": "2026-01-01T00:00:00+00:00",
    "item": {"sku": "s", "titles": ["hat"], "price": 1.5},
    "recent": [{"title": "shoe"}],
}
FOREIGN_CLICK = {"id": 7, "ts": 1_767_225_600.5, "what": "open"}


def _receive(raw: bytes, _: Path) -> object:
    join = PartitionJoin(JoinSettings(), "events", 0, 0, JoinMetrics(CollectorRegistry()))
    join.receive(None, raw, 0, 1_767_225_600_000)
    return join.outbox


def _look_for_fields(raw: bytes, _: Path) -> None:
    UnknownFields(lambda: None).look(IMPRESSION, raw)


def _account(raw: bytes, _: Path) -> object:
    topics = {"events": "events", "labeled": "labeled-impressions", "examples": "weighted-examples"}
    conservation = Conservation(Settled(join={}, scorer={}, trainer={}), topics)  # type: ignore[arg-type]
    headers = {f"millstream.{name}": raw for name in ("partition", "offset", "reason")}
    conservation.take_dead_letter(LogRecord(0, 0, raw, {"millstream.topic": b"events"}))
    conservation.take_dead_letter(LogRecord(0, 0, raw, headers | {"millstream.topic": b"events"}))
    for take in (conservation.take_event, conservation.take_label, conservation.take_examples):
        take(LogRecord(0, 0, raw, {}))
    return conservation


@cache
def _lasting(make: Callable[[Path], Any]) -> tuple[TemporaryDirectory[str], Any]:
    """Return what is made once for all tests, and its directory, which lasts as long as this module."""
    directory = TemporaryDirectory(prefix="hostile-")
    return directory, make(Path(directory.name))


@contextmanager
def _put(raw: bytes, path: Path) -> Iterator[None]:
    sound = path.read_bytes()
    path.write_bytes(raw)
    try:
        yield
    finally:
        path.write_bytes(sound)


def _version_file(name: str, read: Callable[[Any], object]) -> tuple[Callable[[Path], bytes], Any]:
    def place() -> tuple[Any, str, Path]:
        _, (registry, bundle) = _lasting(tiny_registry)
        return registry, bundle.version, registry.root / bundle.version / name

    def decode(raw: bytes, _: Path) -> object:
        registry, version, path = place()
        with _put(raw, path):
            return read((registry, version))

    return lambda _: place()[2].read_bytes(), decode


def _pretrained_file(name: str) -> tuple[Callable[[Path], bytes], Callable[[bytes, Path], object]]:
    def place() -> tuple[Path, Path]:
        _, directory = _lasting(write_tiny_bert)
        return directory, directory / name

    def decode(raw: bytes, _: Path) -> object:
        directory, path = place()
        with _put(raw, path):
            return read_pretrained(ModelSettings(pretrained=str(directory)))

    return lambda _: place()[1].read_bytes(), decode


def _look_at(place: Any) -> object:
    registry, version = place
    assert registry.versions() == [version]
    registry.verify(version)
    registry.listed()
    registry.prune(1)
    return registry.load(version)


def _two_checkpoints(directory: Path) -> tuple[CheckpointStore, str, Path]:
    store = CheckpointStore(directory)
    store.write(checkpoint(1))
    newest, _ = store.write(checkpoint(2))
    return store, newest, directory / newest


def _damaged_checkpoint(name: str) -> tuple[Callable[[Path], bytes], Callable[[bytes, Path], object]]:
    def sound(_: Path) -> bytes:
        return (_lasting(_two_checkpoints)[1][2] / name).read_bytes()

    def decode(raw: bytes, _: Path) -> object:
        store, newest, directory = _lasting(_two_checkpoints)[1]
        manifest = raw
        if name != "manifest.json":
            told = msgspec.json.decode((directory / "manifest.json").read_bytes())
            told["files"][name] = sha256(raw)
            manifest = msgspec.json.encode(told)
        with _put(raw, directory / name), _put(manifest, directory / "manifest.json"):
            store.load_latest()  # falls back, whatever it is
            return store.load(newest)

    return sound, decode


def _plan(directory: Path) -> bytes:
    PlanStore(directory).write(Plan(number=1, first={0: 1}, next={0: 2}, num_rows=1, newest_ms=1, seed=1))
    return (directory / "plan-00000001.json").read_bytes()


def _segment(directory: Path) -> bytes:
    rows = [LedgerRow("a", 0, "trained", 1, 1.0, 0, 0)]
    return (directory / write_segment(directory, 1, rows, None).name).read_bytes()


def _read_segment(raw: bytes, directory: Path) -> object:
    (directory / "one.parquet").write_bytes(raw)
    return read_segments(directory, SegmentReference("one.parquet", sha256(raw)))


def _replay(raw: bytes, _: Path) -> object:
    buffer = ReplayBuffer(TrainerSettings(replay_share=0.5))
    buffer.restore({"num_uses": [0, 0]}, raw)
    return buffer


def _snapshot(directory: Path) -> bytes:
    arrays = ProgressiveEvaluator(EvaluatorSettings()).snapshot()
    write_snapshot(directory / "snapshot.npz", Snapshot(topic="t", offsets={0: 1}, arrays=arrays))
    return (directory / "snapshot.npz").read_bytes()


def _producer_ledger(path: Path) -> None:
    row = ProducerRow(
        kind="click",
        partition=0,
        offset=0,
        event_time_ms=1,
        impression_id="a",
        click_id="b",
        label=None,
        click_probability=None,
    )
    with closing(LedgerWriter(path)) as ledger:
        ledger.append(row)


def _log(path: Path) -> object:
    return list(read_log(path, click_delay_seconds=1.0))


def _adapt(raw: bytes, _: Path) -> object:
    return MAPPING.adapt(raw, "shop-0-0")


def _command(raw: bytes, _: Path) -> object:
    return decode_command(raw, "trainer-commands/0/1")


def _republish(place: Any) -> object:
    registry, version = place
    bundle = _lasting(tiny_registry)[1][1]
    with TemporaryDirectory() as name:
        return write_version_files(bundle, Path(name), registry.path(version))


def _alias(place: Any) -> object:
    return place[0].alias("champion")


def _state(path: Path) -> object:
    return read_state(path, EvaluatorSettings())


def _line(path: Path) -> object:
    return current_line(path.parent)


def _read_plan(path: Path) -> object:
    return PlanStore(path.parent).read(1)


def _settings_file(raw: bytes, directory: Path) -> object:
    (directory / "present.toml").write_bytes(raw)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MILLSTREAM_CONFIG", str(directory / "present.toml"))
        write_settings_file(directory / "new.toml", {"trainer": {"seed": 1}}, [])
        return KafkaSettings()


def _no_predictions() -> Predictions:
    return Predictions(**{name: np.zeros(0) for name in PREDICTIONS_SCHEMA.names})


def _predictions_file(directory: Path) -> bytes:
    write_predictions(_no_predictions(), directory / "p.parquet")
    return (directory / "p.parquet").read_bytes()


def _read_run(raw: bytes, directory: Path) -> object:
    return _read_run_with(directory, rounds=None, predictions=raw)


def _read_rounds(raw: bytes, directory: Path) -> object:
    return _read_run_with(directory, rounds=raw, predictions=None)


def _read_run_with(directory: Path, rounds: bytes | None, predictions: bytes | None) -> object:
    run = directory / "runs" / "a-0"
    run.mkdir(parents=True)
    (directory / "predictions").mkdir()
    (run / "rounds.parquet").write_bytes(rounds or _rounds_file(directory))
    (directory / "predictions" / "a-0.parquet").write_bytes(predictions or _predictions_file(directory))
    return Results(directory).read_run("a", 0)


def _rounds_file(directory: Path) -> bytes:
    pq.write_table(rounds_table([]), directory / "r.parquet")
    return (directory / "r.parquet").read_bytes()


def _timing(raw: bytes, directory: Path) -> object:
    (directory / "runs" / "a-0").mkdir(parents=True)
    (directory / "runs" / "a-0" / "timing.json").write_bytes(raw)
    return Results(directory).timing("a", 0)


def _frozen(raw: bytes, directory: Path) -> object:
    known = KnownBeginning(directory)
    (directory / "frozen.npy").write_bytes(raw)
    return known.frozen()


def _frozen_bytes(directory: Path) -> bytes:
    KnownBeginning(directory).keep_frozen(np.zeros(3))
    return (directory / "frozen.npy").read_bytes()


def _location(raw: bytes, _: Path) -> object:
    text = raw.decode(errors="replace")
    released_root(msgspec.structs.replace(RELEASE, location=f"file://{text}"), Path())
    return released_root(msgspec.structs.replace(RELEASE, location=text), Path())


def _unchecked(place: Any) -> object:
    registry, version = place
    return registry.load(version, verify=False)


PLAIN_ROW = b'{"ts": 1767225600.5, "label": 1, "item": "hat", "context": "q", "item_id": "s", "user_id": "u"}'
MAPPING_FILE = b"""[[source]]
topic = "a"
event = "click"
fields = { click_id = "a", impression_id = "b", event_time_ms = "c" }
"""
RULES_FILE = b'[[rule]]\nname = "x"\nmultiply = 0\nwhen.user_id.prefix = "b"\n'
ARMS_FILE = b'[[arm]]\nname = "a"\nstrategy = "full"\n'
COMMAND = msgspec.json.encode(Command(command_id="a", action="pause", created_ms=1))
BATCH = encode_examples(EXAMPLES)[0]
DECODERS: dict[str, list[Decoder]] = {
    "stream/events.py": [
        Decoder("decode_event", _fixed(encode(IMPRESSION)), lambda raw, _: decode_event(raw), (EventError,)),
        Decoder("decode_event of a click", _fixed(encode(CLICK)), lambda raw, _: decode_event(raw), (EventError,)),
        Decoder("decode_labeled", _fixed(encode(LABELED)), lambda raw, _: decode_labeled(raw), (EventError,)),
        Decoder("decode_release", _fixed(encode(RELEASE)), lambda raw, _: decode_release(raw), (EventError,)),
        Decoder("PartitionJoin.receive", _fixed(encode(IMPRESSION)), _receive, ()),
        Decoder("Conservation", _fixed(encode(LABELED)), _account, ()),
    ],
    "stream/unknown_fields.py": [Decoder("UnknownFields", _fixed(encode(IMPRESSION)), _look_for_fields, ())],
    "stream/example_batch.py": [
        Decoder("decode_examples", _fixed(BATCH), lambda raw, _: decode_examples(raw), (EventError,)),
    ],
    "stream/adapter/mapping.py": [
        Decoder("Mapping.adapt", _fixed(json.dumps(VIEW).encode()), _adapt, (EventError,)),
        Decoder("Mapping.adapt to a click", _fixed(json.dumps(FOREIGN_CLICK).encode()), _adapt, (EventError,)),
        Decoder("read_mapping", _fixed(MAPPING_FILE), _in_file("mapping.toml", read_mapping), (ValueError,)),
    ],
    "stream/play/recorded_log.py": [
        Decoder("read_log, plain", _fixed(PLAIN_ROW), _in_file("log.jsonl", _log), (LogError,)),
        Decoder("read_log, gzipped", _fixed(gzip.compress(PLAIN_ROW)), _in_file("log.jsonl.gz", _log), (LogError,)),
        Decoder("read_log, events", _fixed(encode(IMPRESSION)), _in_file("log.jsonl", _log), (LogError,)),
        Decoder(
            "read_log, Parquet",
            _of_file(lambda path: write_events(path, [IMPRESSION, CLICK]), "log.parquet"),
            _in_file("log.parquet", _log),
            (LogError,),
        ),
    ],
    "stream/play/ledger.py": [
        Decoder(
            "read_producer_ledger",
            _of_file(_producer_ledger, "ledger.parquet"),
            _in_file("ledger.parquet", read_producer_ledger),
            (ValueError,),
        ),
    ],
    "scorer/importance/rules.py": [
        Decoder("load_rules", _fixed(RULES_FILE), _in_file("rules.toml", load_rules), (RuleError,)),
    ],
    "scorer/model/pretrained.py": [
        Decoder("a pretrained config", *_pretrained_file("config.json"), (ValueError,)),
        Decoder("pretrained tensors", *_pretrained_file("model.safetensors"), (ValueError,)),
        Decoder("a pretrained tokenizer", *_pretrained_file("tokenizer.json"), (ValueError,)),
    ],
    "scorer/registry/version_store.py": [
        Decoder("a manifest", *_version_file("manifest.json", _look_at), (RegistryError,)),
        Decoder("an alias", *_version_file("../aliases/champion", _alias), (RegistryError,)),
        Decoder("released_root", _fixed(b"[::1"), _location, (RegistryError,)),
    ],
    "scorer/registry/registry.py": [
        Decoder("a config", *_version_file("config.json", _unchecked), (RegistryError,)),
        Decoder("statistics", *_version_file("statistics.json", _unchecked), (RegistryError,)),
        Decoder("tensors", *_version_file("trained.safetensors", _unchecked), (RegistryError,)),
        Decoder("a tokenizer", *_version_file("tokenizer.json", _unchecked), (RegistryError,)),
    ],
    "scorer/evaluator/snapshot_file.py": [
        Decoder("read_snapshot", _snapshot, _in_file("snapshot.npz", read_snapshot), (ValueError,))
    ],
    "scorer/evaluator/process.py": [Decoder("read_state", _snapshot, _in_file("snapshot.npz", _state), ())],
    "trainer/promotion/commands.py": [Decoder("decode_command", _fixed(COMMAND), _command, (UndecodableError,))],
    "trainer/state/checkpoint.py": [
        Decoder("a checkpoint's manifest", *_damaged_checkpoint("manifest.json"), (CheckpointError,)),
        Decoder("a checkpoint's state", *_damaged_checkpoint("state.json"), (CheckpointError,)),
        Decoder("a checkpoint's tensors", *_damaged_checkpoint("tensors.safetensors"), (CheckpointError,)),
        Decoder("current_line", _fixed(b"0badcafe"), _in_file("line", _line), (CheckpointError,)),
    ],
    "trainer/state/plan.py": [
        Decoder("PlanStore.read", _plan, _in_file("plan-00000001.json", _read_plan), (ValueError,))
    ],
    "trainer/state/ledger_segments.py": [Decoder("read_segments", _segment, _read_segment, (ValueError,))],
    "trainer/learning/replay_buffer.py": [
        Decoder("ReplayBuffer", _fixed(len(BATCH).to_bytes(4, "little") + BATCH), _replay, (UndecodableError,)),
    ],
    "stream/configuration/settings_file.py": [
        Decoder("read_settings_file", _fixed(b"[kafka]\n"), _settings_file, (ValueError,))
    ],
    "scorer/registry/version_files.py": [
        Decoder("a parent's tensors", *_version_file("frozen.safetensors", _republish), ())
    ],
    "trainer/backtest/runs/arms.py": [
        Decoder("read_arms", _fixed(ARMS_FILE), _in_file("arms.toml", read_arms), (ArmError,))
    ],
    "trainer/backtest/runs/predictions.py": [Decoder("predictions", _predictions_file, _read_run, (ResultsError,))],
    "trainer/backtest/runs/rounds.py": [Decoder("rounds", _rounds_file, _read_rounds, (ResultsError,))],
    "trainer/backtest/runs/results.py": [
        Decoder("a timing", _fixed(b'{"seconds": 1.5}'), _timing, (ResultsError,)),
    ],
    "trainer/backtest/runs/beginning.py": [
        Decoder("frozen scores", _frozen_bytes, _frozen, (UndecodableError,)),
    ],
}
"""Every decoder, by the module that turns the bytes into values. HTTP bodies have tests of their own."""
