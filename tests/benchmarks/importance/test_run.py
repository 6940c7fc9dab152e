from dataclasses import replace

import numpy as np
import pytest

from scorer.importance.settings import ImportanceSettings
from tests.benchmarks.importance.arms import COMPARED, FULL, NO_UPDATE, UNIFORM, Arm
from tests.benchmarks.importance.run import ArmRun, Setting, warm_start
from tests.benchmarks.importance.streams import Stream
from tests.benchmarks.importance.tally import Tally

NUM_ROWS, HISTORY = 22 * 1024, 2 * 1024


@pytest.fixture(scope="module")
def stream() -> Stream:
    """Words with appeals, and a rate of clicks of about 4 %."""
    random = np.random.default_rng(5)
    word = random.integers(1, 21, (NUM_ROWS, 3))
    logit = random.normal(size=21)[word].sum(axis=1) * 0.7 - 3.8
    probability = 1 / (1 + np.exp(-logit))
    label = (random.random(NUM_ROWS) < probability).astype(np.float64)
    return Stream(
        word_NW=word.astype(np.int32),
        fields=(3,),
        first_words=(1,),
        vocabulary=21,
        position_N=np.ones(NUM_ROWS, dtype=np.int64),
        label_N=label,
        truth_N=label,
        probability_N=probability,
        draw_N=random.random(NUM_ROWS),
        history=HISTORY,
    )


def tally_of(stream: Stream, arm: Arm, budget: float = 0.25, delay_rounds: int = 0) -> Tally:
    setting = Setting(arm, budget, 0.008, seed=0, importance=ImportanceSettings(), delay_rounds=delay_rounds)
    return ArmRun(stream, setting, warm_start(stream, seed=0)).run()


@pytest.mark.parametrize("arm", [UNIFORM, *COMPARED], ids=lambda arm: arm.name)
def test_every_arm_learns_as_many_rows_as_its_budget_says(stream, arm):
    tally = tally_of(stream, arm)
    # 20 rounds are short: the 2 % that the report holds arms to are of 200.
    assert tally.backward_rows == pytest.approx(0.25 * tally.rows, rel=0.06)


def test_full_learns_every_row_and_no_update_none(stream):
    assert tally_of(stream, FULL).backward_rows == NUM_ROWS - HISTORY
    assert tally_of(stream, NO_UPDATE).backward_rows == 0


def test_late_clicks_are_waited_for_or_learned_twice(stream):
    rows_of_two_rounds = 2 * 1024
    waiting = tally_of(stream, FULL, delay_rounds=2)
    assert waiting.backward_rows == NUM_ROWS - HISTORY - rows_of_two_rounds
    clicks_by_then = stream.label_N[HISTORY:-rows_of_two_rounds].sum()
    early = tally_of(stream, replace(FULL, early=True), delay_rounds=2)
    assert early.backward_rows == NUM_ROWS - HISTORY + clicks_by_then


def test_a_run_is_the_same_every_time(stream):
    first, second = (tally_of(stream, UNIFORM).as_dict() for _ in range(2))
    assert first["ordered"] == second["ordered"]
