import math
from dataclasses import replace

import msgspec
import pytest
import torch

from scorer.model.settings import ModelSettings
from scorer.registry.registry import ModelRegistry
from scorer.registry.version_store import RegistryError, parse_version
from stream.events import Click
from stream.settings import JoinSettings
from tests.doubles import ManualClock, tiny_impression, tiny_labeled
from tests.trainer.rig import ReleaseTopic, Rig, recorded_log
from trainer.promotion.publication import Publisher
from trainer.settings import TrainerSettings
from trainer.state.checkpoint import CheckpointError, load_latest
from trainer.warm_start import Start, _precision, check_finished, init_model_line, labels_of, warm_start

SETTINGS = TrainerSettings(batch_rows=8, warmup_steps=4)


@pytest.fixture
def rig(tmp_path):
    return Rig(tmp_path, recorded_log(100), settings=SETTINGS)


def start_from(rig, num_rows=120, **arguments):
    rows = [tiny_labeled(index) for index in range(num_rows)]
    return warm_start(rows, SETTINGS, rig.trainer_dir, rig.publisher(), Start({0: 4, 1: 9}, 3), **arguments)


def test_a_warm_start_makes_version_one_champion_and_frozen(rig):
    version = start_from(rig)
    assert parse_version(version)[1] == 1
    assert rig.registry.alias("champion") == rig.registry.alias("frozen") == version
    last = {release.alias: release for release in rig.topic.read()}
    assert last["champion"].reason == last["frozen"].reason == "warm_started"
    assert last["champion"].gate.decision == "exempt"


def test_the_line_goes_on_where_the_live_stream_stood(rig):
    start_from(rig)
    state = load_latest(rig.trainer_dir).state
    assert (state.offsets, state.command_offset, state.number) == ({0: 4, 1: 9}, 3, 1)
    assert state.first_offsets == state.offsets


def test_the_warm_up_is_not_repeated_after_the_warm_start(rig):
    start_from(rig)
    checkpoint = load_latest(rig.trainer_dir)
    assert checkpoint.state.num_steps == 15
    assert any(name.startswith("optimizer/exp_avg/") for name in checkpoint.tensors)


def test_the_bias_begins_at_the_log_odds_of_the_click_rate(rig):
    rows = [tiny_labeled(index) for index in range(160)]
    still = TrainerSettings(batch_rows=8, encoder_learning_rate=1e-12, head_learning_rate=1e-12)
    version = warm_start(rows, still, rig.trainer_dir, rig.publisher(), Start({0: 0, 1: 0}))
    rate = sum(row.label for row in rows) / len(rows)
    assert rig.registry.load(version).model.head.bias.item() == pytest.approx(math.log(rate / (1 - rate)), abs=1e-4)


def test_progress_ends_at_the_number_of_rows(rig):
    seen = []
    start_from(rig, progress=seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == 120


def test_the_same_log_gives_the_same_version(tmp_path):
    rigs = [Rig(tmp_path / name, recorded_log(100), settings=SETTINGS) for name in ("a", "b")]
    models = [rig.registry.load(start_from(rig)).model.state_dict() for rig in rigs]
    assert all(torch.equal(models[0][name], models[1][name]) for name in models[0])


def test_a_line_that_has_learned_refuses_a_warm_start(rig):
    start_from(rig)
    with pytest.raises(CheckpointError, match="millstream models init"):
        start_from(rig)


@pytest.mark.parametrize("crash", ["publish", "move"])
def test_a_warm_start_that_a_crash_interrupted_is_finished_in_the_bits_it_learned(rig, crash):
    def crashing(*_, **__):
        raise OSError

    publisher = rig.publisher()
    setattr(publisher, crash, crashing)
    rows = [tiny_labeled(index) for index in range(120)]
    with pytest.raises(OSError):  # noqa: PT011
        warm_start(rows, SETTINGS, rig.trainer_dir, publisher, Start({0: 4, 1: 9}, 3))
    learned = load_latest(rig.trainer_dir)
    with pytest.raises(RegistryError, match="millstream models warm-start"):
        check_finished(learned.state, rig.registry)
    # Another device or number of threads gives other bits; here it is other rows.
    version = start_from(rig, num_rows=60)
    published = rig.registry.load(version).model.trainable_parameters()
    assert all(torch.equal(learned.tensors[f"weights/{name}"], tensor) for name, tensor in published.items())
    assert rig.registry.alias("champion") == version
    with pytest.raises(CheckpointError, match="has learned already"):
        start_from(rig)


def test_a_warm_start_that_was_rolled_back_from_is_finished_all_the_same(rig):
    version = start_from(rig)
    before = version.replace("-000001", "-000000")
    restarted = Rig(rig.directory, recorded_log(100), settings=SETTINGS)
    restarted.inbox.send("rollback", version=before)
    restarted.inbox.send("resume_promotions")
    restarted.inbox.send("pause")
    restarted.trainer.step()
    assert [answer.done for answer in restarted.inbox.answers] == [True] * 3
    check_finished(load_latest(rig.trainer_dir).state, rig.registry)
    with pytest.raises(CheckpointError, match="has learned already"):
        start_from(rig)


def test_a_warm_start_computes_on_the_threads_of_every_process(rig):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        start_from(rig, model=ModelSettings(device="cpu", threads=1))
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(("measured_on", "expected"), [("cuda", "fp32"), ("cpu", "bf16"), (None, "bf16")])
def test_bf16_measured_on_another_kind_of_device_is_not_learned_in(rig, measured_on, expected):
    bundle = replace(rig.registry.load(rig.registry.alias("champion")), precision="bf16")
    state = msgspec.structs.replace(load_latest(rig.trainer_dir).state, device=measured_on)
    assert _precision(bundle, state, torch.device("cpu")) == expected


def test_a_log_without_clicks_is_refused(rig):
    rows = [tiny_labeled(index, label=0) for index in range(20)]
    with pytest.raises(ValueError, match="0 clicks in 20"):
        warm_start(rows, SETTINGS, rig.trainer_dir, rig.publisher(), Start({0: 0, 1: 0}))


def test_numeric_statistics_learn_from_the_log(tmp_path):
    rig = Rig(tmp_path, recorded_log(100), settings=SETTINGS, numeric=("price",))
    rows = [tiny_labeled(index, numeric={"price": float(index)}) for index in range(40)]
    version = warm_start(rows, SETTINGS, rig.trainer_dir, rig.publisher(), Start({0: 0, 1: 0}))
    assert rig.registry.load(version).statistics.to_json()["price"]["count"] == 40


def test_a_log_is_joined_as_the_live_stream_is():
    impressions = [tiny_impression(index) for index in range(3)]
    click = Click(click_id="c", impression_id="impression-1", event_time_ms=impressions[1].event_time_ms + 500)
    rows = labels_of([*impressions, click], JoinSettings(window_seconds=1.0), limit=2)
    assert [row.label for row in rows] == [0, 1]


def test_a_log_is_learned_by_final_labels_though_the_live_stream_sends_early_ones():
    impressions = [tiny_impression(index) for index in range(3)]
    click = Click(click_id="c", impression_id="impression-1", event_time_ms=impressions[1].event_time_ms + 500)
    rows = labels_of([*impressions, click], JoinSettings(window_seconds=1.0, early_negative=True))
    assert [row.label for row in rows] == [0, 1, 0]


@pytest.mark.slow
def test_a_new_line_begins_with_an_untrained_head(tmp_path):
    registry, topic = ModelRegistry(tmp_path / "registry"), ReleaseTopic(tmp_path / "releases.jsonl")
    publisher = Publisher(registry, topic.announce, {}, ManualClock())
    model = ModelSettings(precision="fp32", device="cpu")
    version = init_model_line(model, SETTINGS, tmp_path / "trainer", publisher, Start({0: 0, 1: 0}, 5))
    assert parse_version(version)[1] == 0
    assert not registry.load(version).model.head.weight.any()
    assert {release.alias for release in topic.read()} == {"champion", "frozen"}
    assert load_latest(tmp_path / "trainer").state.command_offset == 5


@pytest.mark.slow
def test_a_new_line_is_the_trainers_own_before_it_serves(tmp_path, monkeypatch):
    def crash(*_):
        raise KeyboardInterrupt

    registry = ModelRegistry(tmp_path / "registry")
    publisher = Publisher(registry, crash, {}, ManualClock())
    model = ModelSettings(precision="fp32", device="cpu")
    monkeypatch.setattr(ModelRegistry, "set_alias", crash)
    with pytest.raises(KeyboardInterrupt):
        init_model_line(model, SETTINGS, tmp_path / "trainer", publisher, Start({0: 0, 1: 0}))
    assert load_latest(tmp_path / "trainer").state.champion in registry.versions()
