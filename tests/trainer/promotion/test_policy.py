import pytest

from stream.events import GateResult
from tests.trainer.state.test_line_state import learn, new_line
from trainer.promotion.policy import is_to_be_judged, verdict
from trainer.settings import GateSettings

GATE = GateSettings(max_holds=5)


def judged(decision, reason="x"):
    return GateResult(decision=decision, reason=reason)


@pytest.mark.parametrize(
    ("result", "holds", "gate", "expected"),
    [
        (judged("promote"), 4, GATE, "promote"),
        (judged("hold"), 3, GATE, "hold"),
        (judged("hold"), 4, GATE, "restore"),
        (judged("hold"), 400, None, "hold"),
        (judged("hold", "non_finite"), 0, GATE, "restore"),
        (judged("hold", "non_finite"), 0, None, "restore"),
    ],
)
def test_repeated_holds_and_weights_that_are_not_finite_bring_the_champion_back(result, holds, gate, expected):
    assert verdict(result, new_line(holds_in_row=holds), gate) == expected


def test_only_what_was_learned_since_the_champion_is_judged_and_not_after_a_rollback():
    learned = learn(new_line(), 5)
    assert [is_to_be_judged(state) for state in (new_line(), learned)] == [False, True]
    back = learned.rolled_back(learned.champion, 0)
    assert [is_to_be_judged(state) for state in (back, back.may_promote_again())] == [False, True]
