from pathlib import Path

import pytest

from scorer.settings import ScorerSettings
from trainer.backtest.runs.arms import REPLAY_SHARE, ArmError, arms_of_strategies, read_arms
from trainer.backtest.runs.streams import simulated_stream

TWO_ARMS = """
[[arm]]
name = "base"
strategy = "uniform"
budget = 0.25

[[arm]]
name = "fast"
strategy = "gradnorm_is"
gate = "off"

[arm.trainer]
encoder_learning_rate = 1e-3
update_rows = 1024

[arm.model]
num_layers = 2

[arm.importance]
reference_strength = 1.0
"""


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "arms.toml"
    path.write_text(text)
    return path


def test_a_strategy_makes_an_arm_of_its_name_with_the_configured_settings(monkeypatch):
    monkeypatch.setenv("MILLSTREAM_TRAINER_BATCH_ROWS", "48")
    uniform, gradnorm = arms_of_strategies(["uniform", "gradnorm_is"], 0.25)
    assert (uniform.name, uniform.scorer.strategy, uniform.scorer.budget) == ("uniform", "uniform", 0.25)
    assert (gradnorm.name, gradnorm.scorer.strategy) == ("gradnorm_is", "gradnorm_is")
    assert gradnorm.trainer.batch_rows == 48
    assert gradnorm.gate is not None


@pytest.mark.parametrize("name", ["recency", "density_ratio"])
def test_what_a_replaying_arm_replays_is_taken_from_its_budget(name, monkeypatch):
    [arm] = arms_of_strategies([name], 0.4)
    assert (arm.trainer.replay_share, arm.scorer.budget) == (REPLAY_SHARE, pytest.approx(0.3))
    assert arm.budget == pytest.approx(0.4)
    monkeypatch.setenv("MILLSTREAM_TRAINER_REPLAY_SHARE", "0.1")
    [arm] = arms_of_strategies([name], 0.4)
    assert (arm.trainer.replay_share, arm.scorer.budget) == (0.1, 0.4)


def test_only_what_undoes_early_negatives_gets_them():
    stream = simulated_stream("none", 1_000)
    undoing, uniform = arms_of_strategies(["delay_fnw", "uniform"], 0.5)
    assert undoing.stream(stream).early_negative
    assert uniform.stream(stream) is stream


def test_without_a_budget_the_configured_one_stands(monkeypatch):
    monkeypatch.setenv("MILLSTREAM_SCORER_BUDGET", "0.125")
    assert arms_of_strategies(["uniform"], None)[0].scorer.budget == 0.125


def test_the_gate_can_be_off_for_all(monkeypatch):
    assert arms_of_strategies(["uniform"], 0.5, gate=False)[0].gate is None


def test_a_file_gives_every_arm_its_own_settings(tmp_path):
    base, fast = read_arms(write(tmp_path, TWO_ARMS))
    assert (base.scorer.budget, base.trainer.update_rows, base.gate is None) == (0.25, 352, False)
    assert (fast.scorer.budget, fast.trainer.update_rows, fast.gate is None) == (ScorerSettings().budget, 1024, True)
    assert (fast.model.num_layers, fast.importance.reference_strength) == (2, 1.0)


def test_the_frozen_version_scores_every_row_unless_asked_otherwise(tmp_path):
    text = '[[arm]]\nname = "a"\n[[arm]]\nname = "b"\n[arm.scorer]\nfrozen_share = 0.5\n'
    assert [arm.scorer.frozen_share for arm in read_arms(write(tmp_path, text))] == [1.0, 0.5]


def test_an_arm_computes_in_fp32_on_one_thread_whatever_is_configured(monkeypatch):
    monkeypatch.setenv("MILLSTREAM_MODEL_PRECISION", "bf16")
    monkeypatch.setenv("MILLSTREAM_MODEL_THREADS", "4")
    model = arms_of_strategies(["uniform"], 0.5)[0].model
    assert (model.precision, model.threads) == ("fp32", 1)


def test_a_run_moves_the_seed_of_the_updates(monkeypatch):
    monkeypatch.setenv("MILLSTREAM_TRAINER_SEED", "40")
    assert arms_of_strategies(["uniform"], 0.5)[0].seeded(2).trainer.seed == 42


def test_settings_that_do_nothing_in_a_backtest_are_no_difference(monkeypatch):
    before = arms_of_strategies(["uniform"], 0.5)[0].facts()
    monkeypatch.setenv("MILLSTREAM_SCORER_INSTANCE", "7")
    assert arms_of_strategies(["uniform"], 0.5)[0].facts() == before


def test_other_rules_are_another_arm(tmp_path, monkeypatch):
    rules = tmp_path / "rules.toml"
    rules.write_text('[[rule]]\nname = "bots"\nmultiply = 2.0\nwhen.user_id.prefix = "bot-"\n')
    monkeypatch.setenv("MILLSTREAM_IMPORTANCE_RULES", str(rules))
    before = arms_of_strategies(["uniform"], 0.5)[0].facts()
    rules.write_text(rules.read_text().replace("2.0", "3.0"))
    assert arms_of_strategies(["uniform"], 0.5)[0].facts() != before


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[[arm]\n", "arms.toml is not TOML"),
        ("", "found no [[arm]]"),
        ('[arm]\nname = "a"\n', "write one [[arm]] table per arm"),
        ('budget = 0.5\n[[arm]]\nname = "a"\n', "found budget"),
        ('[[arm]]\nstrategy = "uniform"\n', "arm 1 has name = None"),
        ('[[arm]]\nname = "../a"\n', "arm 1 has name = '../a'"),
        ('[[arm]]\nname = "a"\n[[arm]]\nname = "a"\n', "arm 'a' is there more than once"),
        ('[[arm]]\nname = "a"\nstrategy = "best"\n', "arm 'a': strategy = 'best' is not one of full, uniform"),
        ('[[arm]]\nname = "a"\nbudget = 2.0\n', "arm 'a': budget = 2.0: input should be less than or equal to 1"),
        ('[[arm]]\nname = "a"\nbugdet = 0.5\n', "arm 'a': unknown field 'bugdet'; an arm has name, strategy, budget"),
        ('[[arm]]\nname = "a"\ntrainer = 3\n', "arm 'a': trainer = 3 is not a table; write [arm.trainer]"),
        ('[[arm]]\nname = "a"\n[arm.trainer]\nrows = 3\n', "[arm.trainer] rows = 3 is no setting; take one of"),
        ('[[arm]]\nname = "a"\n[arm.trainer]\nupdate_rows = 0\n', "[arm.trainer] update_rows = 0: input should be"),
        ('[[arm]]\nname = "a"\n[arm.model]\nmax_tokens = 20\n', "arm 'a': [arm.model] max_tokens=20 cannot hold"),
        ('[[arm]]\nname = "a"\n[arm.model]\nprecision = "bf16"\n', "[arm.model] precision = 'bf16', but a backtest"),
    ],
)
def test_a_wrong_file_is_refused_with_arm_field_and_value(tmp_path, text, told):
    with pytest.raises(ArmError) as refusal:
        read_arms(write(tmp_path, text))
    assert told in str(refusal.value)
    assert "arms.toml" in str(refusal.value)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ArmError, match=r"none\.toml cannot be read"):
        read_arms(tmp_path / "none.toml")


def test_an_unknown_strategy_is_refused_with_the_known_ones():
    with pytest.raises(ArmError, match="--strategies: arm 'best': strategy = 'best' is not one of full, uniform"):
        arms_of_strategies(["best"], 0.5)


def test_no_strategy_is_refused():
    with pytest.raises(ArmError, match="there is no arm"):
        arms_of_strategies([], 0.5)


def test_a_wrong_variable_is_told_as_a_variable(tmp_path, monkeypatch):
    monkeypatch.setenv("MILLSTREAM_TRAINER_UPDATE_ROWS", "0")
    with pytest.raises(ValueError, match="update_rows") as refusal:
        arms_of_strategies(["uniform"], 0.5)
    assert not isinstance(refusal.value, ArmError)
