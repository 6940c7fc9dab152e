import numpy as np
import pytest
import torch

from tests.trainer.backtest.tiny import tiny_arm, tiny_stream
from tests.trainer.rig import spoil_head
from trainer.backtest.runs.run import assemble
from trainer.promotion.slow_harm import LEAST_UPDATES, Compared
from trainer.settings import GateSettings


@pytest.fixture
def stream(tmp_path):
    return tiny_stream(tmp_path)


def parts_of(bert, stream, tmp_path, **changes):
    return assemble(tiny_arm(bert, **changes), stream, 0, tmp_path)


def step(parts):
    """Score, decide and learn one plan; return the decision."""
    parts.scorer.read()
    plan, rows = parts.trainer.admit(parts.scorer.score().record)
    decision = parts.trainer.decide(rows, plan)
    parts.trainer.line.learn(rows, plan)
    return decision


def live(parts):
    return parts.trainer._live.bundle


def learner_weights(parts):
    return {name: tensor.clone() for name, tensor in parts.trainer.line.candidate().model.state_dict().items()}


def same(some, others):
    return all(torch.equal(tensor, others[name]) for name, tensor in some.items())


def test_the_first_plan_judges_nothing_and_the_second_the_first_update(bert, stream, tmp_path):
    newest = tiny_arm(bert).trainer.model_copy(update={"ladder_rows": 0})
    parts = parts_of(bert, stream, tmp_path, trainer=newest)
    first = step(parts)
    assert (first.result, first.judged) == (None, False)
    learned = learner_weights(parts)
    second = step(parts)
    assert (second.result.decision, second.judged) == ("promote", True)
    assert same(learned, live(parts).model.state_dict())
    assert live(parts).version == "00000000-000002"


def test_what_serves_is_the_mean_of_steps_that_the_rows_of_its_judgement_chose(bert, stream, tmp_path):
    parts = parts_of(bert, stream, tmp_path)
    step(parts)
    line = parts.trainer.line
    parts.scorer.read()
    plan, rows = parts.trainer.admit(parts.scorer.score().record)
    before = dict(line.shares)
    parts.trainer.decide(rows, plan)
    assert line.shares != before
    assert same(learner_weights(parts), live(parts).model.state_dict())


def test_what_is_learned_after_a_promotion_does_not_serve(bert, stream, tmp_path):
    parts = parts_of(bert, stream, tmp_path)
    step(parts)
    step(parts)
    assert not same(learner_weights(parts), live(parts).model.state_dict())


def test_the_statistics_that_serve_are_those_of_the_promotion(bert, stream, tmp_path):
    model = tiny_arm(bert).model.model_copy(update={"numeric": ("price",)})
    parts = parts_of(bert, stream, tmp_path, model=model)
    step(parts)
    step(parts)
    assert live(parts).statistics is not parts.trainer.line.candidate().statistics


def test_without_a_gate_every_update_serves_unjudged(bert, stream, tmp_path):
    parts = parts_of(bert, stream, tmp_path, gate=None)
    step(parts)
    decision = step(parts)
    assert (decision.result.decision, decision.result.reason, decision.judged) == ("promote", "gate_off", False)


def test_while_evidence_does_not_suffice_nothing_is_decided(bert, stream, tmp_path):
    parts = parts_of(bert, stream, tmp_path, gate=GateSettings(min_clicks=1000, max_wait_seconds=1e6))
    step(parts)
    decision = step(parts)
    assert (decision.result, decision.judged) == (None, True)
    assert live(parts).version == "00000000-000001"


@pytest.mark.parametrize("gated", [True, False])
def test_weights_that_are_not_finite_go_back_to_the_champion(bert, stream, tmp_path, gated):
    parts = parts_of(bert, stream, tmp_path, gate=GateSettings(min_clicks=10) if gated else None)
    step(parts)
    step(parts)
    served = {name: tensor.clone() for name, tensor in live(parts).model.state_dict().items()}
    learned = parts.trainer.line.state.rows_since_champion
    spoil_head(parts.trainer.line, "weight", float("nan"))
    parts.scorer.read()
    plan, rows = parts.trainer.admit(parts.scorer.score().record)
    decision = parts.trainer.decide(rows, plan)
    assert (decision.result.reason, decision.discarded_rows) == ("non_finite", learned)
    assert same(learner_weights(parts), served)
    assert live(parts).version == "00000000-000002"


def test_a_line_that_is_worse_than_the_frozen_version_begins_again_from_it(bert, stream, tmp_path):
    parts = parts_of(bert, stream, tmp_path)
    frozen = {name: tensor.clone() for name, tensor in live(parts).model.state_dict().items()}
    step(parts)
    step(parts)
    assert live(parts).version == "00000000-000002"
    random = np.random.default_rng(0)
    for _ in range(LEAST_UPDATES):
        parts.trainer.line._slow_harm.note(Compared(100, 1000, random.normal(-0.1, 0.01), 0.0))
    learned = parts.trainer.line.state.knowledge.rows
    parts.scorer.read()
    plan, rows = parts.trainer.admit(parts.scorer.score().record)
    decision = parts.trainer.decide(rows, plan)
    assert (decision.result.reason, decision.discarded_rows) == ("worse_than_frozen", learned)
    assert live(parts).version == "00000000-000001"
    assert same(learner_weights(parts), frozen)
    assert same(live(parts).model.state_dict(), frozen)
    parts.trainer.line.learn(rows, plan)
    assert step(parts).result.decision == "promote"


def test_rows_that_both_versions_scored_are_compared(bert, stream, tmp_path):
    parts = parts_of(bert, stream, tmp_path)
    step(parts)
    assert parts.trainer.line._slow_harm.snapshot()[:, 0].tolist() == [100]


def test_holds_in_a_row_restore_the_champion_with_its_optimizer(bert, stream, tmp_path):
    # Nothing is as well calibrated as this asks for: every judgement with enough clicks is a hold.
    gate = GateSettings(min_clicks=2, max_calibration=1.0001, max_holds=2)
    newest = tiny_arm(bert).trainer.model_copy(update={"ladder_rows": 0})
    parts = parts_of(bert, stream, tmp_path, gate=gate, trainer=newest)
    spoil_head(parts.trainer.line, "bias", 4.0)
    before = learner_weights(parts)
    step(parts)
    assert not same(before, learner_weights(parts))
    first, second = step(parts), step(parts)
    assert [(one.result.decision, one.discarded_rows > 0) for one in (first, second)] == [
        ("hold", False),
        ("hold", True),
    ]
    assert live(parts).version == "00000000-000001"


def test_the_probe_is_looked_at_when_it_is_its_turn(bert, stream, tmp_path):
    parts = parts_of(bert, stream, tmp_path)
    looks = []
    for _ in range(4):
        parts.scorer.read()
        plan, rows = parts.trainer.admit(parts.scorer.score().record)
        parts.trainer.decide(rows, plan)
        parts.trainer.line.learn(rows, plan)
        looks.append(parts.trainer.look(rows, plan))
    assert [look is None for look in looks] == [True, True, True, False]
