"""What an earlier release wrote is still read, and means the same. Files of `written_by_0_1_0` are never changed."""

import shutil
from collections import Counter
from functools import cache
from hashlib import sha256
from pathlib import Path

import msgspec
import pyarrow.parquet as pq
import pytest

from scorer.engine.engine import forward_rows
from scorer.engine.golden import golden_problem, golden_z
from scorer.evaluator.process import read_state
from scorer.evaluator.settings import EvaluatorSettings
from scorer.measures.auc import auc
from scorer.model.settings import ModelSettings
from scorer.registry.manifest import Learned
from scorer.registry.registry import ModelRegistry
from scorer.registry.version_store import released_root
from stream.cluster.gone_records import LAST_OFFSET_HEADER, GoneRange
from stream.cluster.log import LogRecord
from stream.dead_letters import GONE
from stream.events import Click, EventError, Impression, decode_event, decode_labeled, decode_release
from stream.example_batch import decode_examples
from stream.play.ledger import read_producer_ledger
from tests.trainer.rig import Rig
from trainer.backtest.runs.results import Results
from trainer.line import ModelLine
from trainer.plans.example_record import ExampleRecord
from trainer.promotion.commands import CommandResult, decode_command
from trainer.settings import GateSettings, TrainerSettings
from trainer.state.checkpoint import checkpoint_store, current_line, line_directory
from trainer.state.contract import check_contract, contract_of
from trainer.state.ledger import read_ledger
from trainer.state.plan import Plan, PlanStore

WRITTEN = Path(__file__).parent / "written_by_0_1_0"
LINE = "53c5876d"
FIRST, PREVIOUS, CHAMPION = f"{LINE}-000000", f"{LINE}-000006", f"{LINE}-000008"
GAP = {0: (2, 5), 1: (3, 6)}
MODEL = ModelSettings(
    pretrained="tiny-bert", numeric=("price",), max_query_tokens=8, max_item_tokens=16, max_tokens=40, max_position=16
)
TRAINER = TrainerSettings(
    update_rows=64,
    warmup_steps=4,
    replay_share=0.2,
    replay_capacity=20,
    keep_checkpoints=2,
    ladder_rows=0,  # the release that wrote the state served the newest weights
)
GATE = GateSettings(min_clicks=10)


def close(value: object) -> object:
    return pytest.approx(value, rel=0, abs=1e-5)


@cache
def topic(kind: str) -> list[LogRecord]:
    """Return the records of a topic, by partition and offset."""
    rows = pq.read_table(WRITTEN / "topics.parquet", filters=[("topic", "=", kind)]).drop_columns("topic").to_pylist()
    records = [LogRecord(**row | {"headers": dict(row["headers"])}) for row in rows]
    return sorted(records, key=lambda record: (record.partition, record.offset))


def decode_all(kind: str, decode) -> tuple[list, list[str]]:
    """Return the values of a topic, and why others are none."""
    values, reasons = [], []
    for record in topic(kind):
        try:
            values.append(decode(record.value))
        except EventError as error:
            reasons.append(error.reason)
    return values, sorted(reasons)


def example_records() -> list[ExampleRecord]:
    return [
        ExampleRecord(record.partition, record.offset, record.timestamp_ms, tuple(decode_examples(record.value)))
        for record in topic("weighted-examples")
    ]


@pytest.fixture
def home(tmp_path):
    return shutil.copytree(WRITTEN / "state", tmp_path / "home")


@pytest.fixture
def registry(home):
    return ModelRegistry(home / "registry")


@pytest.fixture
def checkpoints(home):
    return checkpoint_store(home / "trainer", current_line(home / "trainer"), keep=3)


def test_nothing_was_rewritten():
    files = sorted(path for path in WRITTEN.rglob("*") if path.is_file() and path.name != "README.md")
    content = sha256()
    for path in files:
        content.update(f"{path.relative_to(WRITTEN)} {sha256(path.read_bytes()).hexdigest()}\n".encode())
    assert len(files) == 50
    assert content.hexdigest() == "d0660704992b28431dfa06d8a52786cc0ff78ed4cb2b2d6af8d0b2cfe306888f"


def test_the_registry_lists_its_versions(registry):
    listed = {entry.version: entry for entry in registry.listed()}
    assert {version: entry.aliases for version, entry in listed.items()} == {
        FIRST: ("frozen",),
        PREVIOUS: ("previous",),
        CHAMPION: ("champion",),
    }
    manifests = {version: entry.manifest for version, entry in listed.items()}
    gaps = ({str(partition): place for partition, place in GAP.items()},)
    assert [manifest.learned for manifest in manifests.values()] == [Learned(), Learned(43, gaps), Learned(79, gaps)]
    assert manifests[CHAMPION].parent == PREVIOUS
    assert manifests[CHAMPION].number == 8
    assert manifests[CHAMPION].precision == "fp32"
    assert manifests[CHAMPION].created_ms == 1_795_681_304_452
    assert manifests[CHAMPION].covered_offsets == {"0": 8, "1": 9}
    assert manifests[CHAMPION].plan == {"judged_on": 8, "first": {"0": 8, "1": 9}, "next": {"0": 9, "1": 10}}
    gate = manifests[CHAMPION].gate
    assert (gate.decision, gate.reason, gate.num_rows, gate.num_clicks) == ("promote", "no_harm", 75, 18)
    assert (gate.auc_candidate, gate.calibration_candidate) == close((0.445419, 2.016937))


@pytest.mark.parametrize(
    ("version", "golden", "seen"),
    [
        (FIRST, (0.0, 0.0, 0.0, 0.0), 0),
        (PREVIOUS, (-0.018530, -0.004331, -0.008505, -0.016893), 61),
        (CHAMPION, (-0.051753, -0.022372, -0.025501, -0.050573), 111),
    ],
)
def test_a_version_loads_and_answers_the_golden_query(registry, version, golden, seen):
    assert registry.verify(version) == []
    bundle = registry.load(version)
    assert golden_z(bundle) == close(golden)
    assert golden_problem(golden_z(bundle), registry.manifest(version).golden_z) is None
    assert bundle.statistics.to_json()["price"]["count"] == seen


def test_the_champion_scores_as_it_did(registry):
    rows = [row for record in example_records() for row in record.rows if row.live.version == CHAMPION]
    bundle = registry.load(CHAMPION)
    z, hidden_norm = forward_rows(
        bundle, bundle.featurizer.encode([row.labeled.impression for row in rows]), max_batch_tokens=4096
    )
    assert len(rows) == 123
    assert z.tolist() == close([row.live.z for row in rows])
    assert hidden_norm.tolist() == close([row.hidden_norm for row in rows])


def test_every_checkpoint_loads(checkpoints):
    loaded = [checkpoints.load(name) for name in checkpoints.names()]
    assert [checkpoint.name for checkpoint in loaded] == [f"checkpoint-{number:010d}" for number in (13, 14, 15)]
    assert [checkpoint.state.update for checkpoint in loaded] == [7, 8, 9]
    assert [checkpoint.state.champion for checkpoint in loaded] == [PREVIOUS, CHAMPION, CHAMPION]
    assert [len(checkpoint.tensors["first_copies/hashes"]) for checkpoint in loaded] == [365, 431, 451]
    sums = {
        group: sum(float(tensor.double().abs().sum()) for name, tensor in found.items() if name.startswith(group))
        for found in [loaded[-1].tensors]
        for group in ("weights/", "optimizer/exp_avg/", "optimizer/exp_avg_sq/", "optimizer/step/")
    }
    assert list(sums.values()) == close([66.434747, 0.927732, 0.001999, 95])


def test_the_newest_checkpoint_says_where_the_line_stands(checkpoints):
    state = checkpoints.load_latest().state
    assert (state.line, state.champion, state.lineage, state.previous) == (LINE, CHAMPION, CHAMPION, PREVIOUS)
    assert state.earlier == (FIRST, f"{LINE}-000002", PREVIOUS)
    assert state.champion_checkpoint == "checkpoint-0000000013"
    assert (state.update, state.number, state.num_steps, state.command_offset) == (9, 10, 10, 16)
    assert state.offsets == state.covered == {0: 10, 1: 11}
    assert (state.first_offsets, state.gaps) == ({0: 0, 1: 0}, (GAP,))
    assert state.gone == (GoneRange("millstream.weighted-examples", 1, 8, 8),)
    assert (state.base_rows, state.rows_since_champion, state.discarded_rows) == (79, 55, 134)
    assert (state.holds_in_row, state.paused, state.promotions_stopped) == (0, False, False)
    assert (state.evidence_since_ms, state.num_newest_judged) == (1_795_681_308_422, 20)
    assert state.statistics == {"price": {"count": 168, "mean": close(12.875), "squares": close(4058.375)}}
    assert state.device == "cpu"


def test_the_line_fits_its_settings_and_its_memory_is_whole(registry, checkpoints):
    checkpoint = checkpoints.load_latest()
    bundle = registry.load(checkpoint.state.lineage)
    check_contract(checkpoint.state.contract, contract_of(MODEL, bundle, 2))
    line = ModelLine(bundle, checkpoint, TRAINER, GATE)
    assert len(line.replay) == 20
    assert line.replay.snapshot()[0] == {
        "num_offered": 222,
        "num_uses": [2, 2, 0, 1, 2, 0, 2, 0, 0, 1, 2, 2, 1, 2, 2, 1, 0, 1, 2, 0],
    }
    assert (line.evidence.pooled.num_rows, int(line.evidence.newest.label.sum())) == (20, 4)
    seen, unseen = example_records()[6].rows[:1], example_records()[-1].rows[-1:]
    assert [line.first_copies.observe(row.labeled) for row in (*seen, *unseen)] == ["repeat", "new"]


def test_the_ledger_says_what_became_of_every_row(home):
    rows = read_ledger(home / "trainer").to_pylist()
    assert Counter(row["outcome"] for row in rows) == {"sampled_out": 229, "trained": 222, "replayed": 46}
    assert [Counter(row["update"] for row in rows)[update] for update in range(1, 10)] == [
        *(26, 74, 75, 74, 71, 72, 9, 74, 22)
    ]
    assert sum(row["weight"] for row in rows) == close(262.701253)
    assert rows[0] == {
        "impression_id": "impression-1",
        "revision": 0,
        "outcome": "sampled_out",
        "update": 1,
        "weight": 0.0,
        "source_partition": 0,
        "source_offset": 0,
        "line": LINE,
    }


def test_the_trainer_goes_on_with_the_plan_that_a_crash_left(home):
    plans = PlanStore(line_directory(home / "trainer", LINE) / "plans")
    plan = plans.read(10)
    assert plan == Plan(
        number=10,
        first={0: 10, 1: 11},
        next={0: 11, 1: 12},
        num_rows=103,
        newest_ms=1_795_681_314_429,
        seed=12_563_934_247_304_824,
    )
    rig = Rig(home, example_records(), settings=TRAINER, gate=GATE)
    rig.topic.announce(decode_all("model-releases", decode_release)[0])
    rig.run_to_end()
    state = rig.newest_checkpoint().state
    assert (state.update, state.offsets) == (10, {0: 11, 1: 12})
    assert (state.champion, state.num_steps) == (f"{LINE}-000010", 12)
    assert golden_z(rig.registry.load(state.champion)) == close((-0.079349, -0.041955, -0.041198, -0.085177))
    assert Counter(row["outcome"] for row in read_ledger(home / "trainer").to_pylist()) == {
        "sampled_out": 281,
        "trained": 273,
        "replayed": 57,
    }


def test_the_evaluator_goes_on_from_its_snapshot(home):
    snapshot, evaluator = read_state(home / "evaluator" / "snapshot.npz", EvaluatorSettings())
    assert (snapshot.topic, snapshot.offsets) == ("millstream.weighted-examples", {0: 11, 1: 12})
    found = evaluator.evaluate()
    window = found.window
    assert (found.num_distinct, found.num_waiting) == (569, 189)
    assert (window.num_rows, window.num_common, window.num_served) == (569, 569, 284)
    assert {role: quality.auc for role, quality in window.roles.items()} == close(
        {"live": 0.563017, "frozen": 0.5, "served": 0.509357}
    )
    assert (window.live_on_served.auc, window.roles["live"].auc_within_query) == close((0.557065, 0.569647))
    assert (window.roles["served"].log_loss, found.mean_loss, found.mean_rate) == close((0.922470, 0.687518, 0.249561))
    assert found.freshness == close({0.5: 294.4965, 0.95: 321.25075, 0.99: 321.28695})
    newest = example_records()[-1]
    assert evaluator.add_record(newest.partition, newest.offset, newest.rows).copies["repeat"] == len(newest.rows) == 58


def test_events_are_read(registry):
    events, reasons = decode_all("events", decode_event)
    assert reasons == ["malformed", "malformed", "malformed", "oversized", "unknown_version"]
    clicks = [event for event in events if isinstance(event, Click)]
    assert Counter(click.kind for click in clicks) == {"click": 127, "cart": 20}
    impressions = [event for event in events if isinstance(event, Impression)]
    assert len(impressions) == 550
    assert sum(event.numeric.get("price", 0.0) for event in impressions) == 4707
    assert sum(event.served.score for event in impressions if event.served) == close(135.7)
    assert sum(len(event.history) for event in impressions) == 823
    sound = {event.impression_id for event in events}
    assert {record.key.decode() for record in topic("events") if not record.key.startswith(b"bad")} == sound


def test_labels_are_read():
    labels, reasons = decode_all("labeled-impressions", decode_labeled)
    assert reasons == ["malformed"]
    assert Counter((row.label, row.revision, row.kind, len(row.click_ids)) for row in labels) == {
        (0, 0, None, 0): 427,
        (1, 0, "click", 1): 121,
        (1, 1, "cart", 1): 20,
        (1, 1, "click", 1): 1,
    }


def test_weighted_examples_are_read():
    records = example_records()
    assert [(record.partition, record.offset) for record in records] == [
        *((0, k) for k in range(11)),
        (1, 9),
        (1, 10),
        (1, 11),
    ]
    assert [len(record.rows) for record in records] == [16, 1, 37, 37, 40, 37, 25, 9, 38, 11, 45, 28, 9, 58]
    rows = [row for record in records for row in record.rows]
    assert {(row.strategy, row.frozen.version, row.control) for row in rows} == {("gradnorm_is", FIRST, None)}
    assert Counter(row.live.version for row in rows) == {
        FIRST: 54,
        f"{LINE}-000002": 139,
        PREVIOUS: 75,
        CHAMPION: 123,
    }
    assert sum(row.live.z for row in rows) == close(-10.432919)
    assert sum(row.hidden_norm for row in rows) == close(781.361087)
    assert sum(row.importance_weight for row in rows) == close(388.548816)
    assert sum(row.inclusion_probability for row in rows) == close(197.729251)


def test_releases_are_read_and_name_what_the_registry_holds(registry):
    releases, reasons = decode_all("model-releases", decode_release)
    assert reasons == []
    assert [(release.alias, release.version[-1:], release.reason) for release in releases] == [
        ("champion", "0", "initialised"),
        ("frozen", "0", "initialised"),
        ("previous", "0", "promoted"),
        ("champion", "2", "promoted"),
        ("previous", "2", "promoted"),
        ("champion", "3", "promoted"),
        ("previous", "3", "rolled_back"),
        ("champion", "2", "rolled_back"),
        ("previous", "2", "promoted"),
        ("champion", "6", "promoted"),
        ("previous", "6", "promoted"),
        ("champion", "8", "promoted"),
    ]
    assert [record.key.decode() for record in topic("model-releases")] == [release.alias for release in releases]
    newest = releases[-1]
    assert (newest.covered_offsets, newest.gaps) == ({"0": 8, "1": 9}, ({"0": (2, 5), "1": (3, 6)},))
    assert newest.digest == registry.digest(CHAMPION)
    assert released_root(newest, registry.root) == registry.root


def test_commands_and_answers_are_read():
    noise, *records = topic("trainer-commands")
    assert noise.value == b"{no command"
    messages = [decode_command(record.value, "trainer-commands") for record in records]
    assert [message.action for message in messages[::3]] == [
        *("pause", "resume", "rollback", "rollback", "resume_promotions")
    ]
    assert (messages[9].version, messages[12].restart_from) == (f"{LINE}-999999", f"{LINE}-000002")
    answers = [message for message in messages if isinstance(message, CommandResult)]
    assert [answer.done for answer in answers] == [True, True, True, False, True]
    assert answers[0].message == "paused after update 2; the scorers serve on"
    assert [message.command_id for message in messages[1::3]] == [answer.command_id for answer in answers]


def test_dead_letters_are_read():
    letters = [
        {name.removeprefix("millstream."): value.decode() for name, value in record.headers.items()}
        for record in topic("dead-letters")
    ]
    assert Counter((letter["stage"], letter["reason"]) for letter in letters) == {
        ("join", "malformed"): 3,
        ("join", "unknown_version"): 1,
        ("join", "oversized"): 1,
        ("join", "late_click"): 1,
        ("join", "orphaned_click"): 1,
        ("join", "further_click"): 1,
        ("scorer", "malformed"): 1,
        ("trainer", "malformed"): 1,
        ("trainer", GONE): 1,
    }
    (gone,) = [record.headers for record in topic("dead-letters") if record.headers["millstream.reason"] == b"gone"]
    assert (gone["millstream.topic"], gone["millstream.partition"]) == (b"millstream.weighted-examples", b"1")
    assert (gone["millstream.offset"], gone[LAST_OFFSET_HEADER]) == (b"8", b"8")


def test_a_letter_from_events_holds_the_record_it_names():
    events = {(str(record.partition), str(record.offset)): record.value for record in topic("events")}
    letters = [
        (record.value, (record.headers["millstream.partition"].decode(), record.headers["millstream.offset"].decode()))
        for record in topic("dead-letters")
        if record.headers["millstream.topic"] == b"millstream.events"
    ]
    assert len(letters) == 8
    assert all(events[place] == value for value, place in letters)


def test_the_producers_ledger_names_every_event():
    rows = read_producer_ledger(WRITTEN / "producer_ledger.parquet").to_pylist()
    assert Counter(row["kind"] for row in rows) == {
        "impression": 548,
        "click": 143,
        "malformed": 3,
        "repeated_impression": 2,
        "repeated_click": 2,
        "unknown_version": 1,
        "oversized": 1,
        "orphaned_click": 1,
        "late_click": 1,
    }
    assert sum(row["label"] or 0 for row in rows) == 142
    events = {(record.partition, record.offset): record for record in topic("events")}
    assert events.keys() == {(row["partition"], row["offset"]) for row in rows}
    for row in rows:
        record = events[row["partition"], row["offset"]]
        assert row["event_time_ms"] == record.timestamp_ms
        if row["impression_id"] is not None:
            event = decode_event(record.value)
            assert row["impression_id"] == event.impression_id
            assert row["click_id"] == getattr(event, "click_id", None)


def test_the_runs_of_a_backtest_are_read():
    results = Results(WRITTEN / "backtest")
    run = results.read_run("gradnorm", 0)
    newest = msgspec.to_builtins(run.rounds[-1])
    assert [entry.live_version for entry in run.rounds] == [1, 1, 2, 3, 4, 5]
    assert (newest["first_row"], newest["rows"], newest["clicks"], newest["backward_rows"]) == (600, 100, 24, 51)
    assert (newest["auc_live"], newest["auc_frozen"], newest["mean_loss"]) == close((0.677906, 0.671875, 0.524217))
    assert (newest["strategy"], newest["gate_decision"], newest["auc_limit"]) == ("gradnorm_is", "promote", None)
    assert (len(run.predictions), int(run.predictions.label.sum())) == (600, 132)
    assert auc(run.predictions.z_live, run.predictions.label) == close(0.566628)
    assert auc(run.predictions.z_served, run.predictions.label) == close(0.585559)
    assert results.timing("gradnorm", 0)["seconds"] == 0.33
