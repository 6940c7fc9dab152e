from dataclasses import replace

import numpy as np
import pytest

from scorer.importance.effective_sample_size import WatchedStrategy, effective_sample_size
from scorer.importance.gradient_norm import GradientNormSampling
from scorer.importance.local_case_control import LocalCaseControl
from scorer.importance.running import REMEMBERED_ROWS
from scorer.importance.seed_sigmoid import SeedSigmoid
from scorer.importance.strategy import ScoredRows, importance, sigmoid


class LopsidedStrategy:
    """Gives one row in `period` nearly all the weight."""

    name = "lopsided"

    def __init__(self, period):
        self.period = period

    def weigh(self, rows):
        weight = np.where(np.arange(len(rows)) % self.period == 0, float(self.period), 1e-6)
        return replace(importance(self.name, np.full(len(rows), 0.5)), sampling_correction=weight)


class SelectingStrategy:
    """Selects by scores of a variance ratio that the test sets; every row has weight 1."""

    name = "selecting"

    def __init__(self, variance_ratio):
        self.variance_ratio = variance_ratio

    def weigh(self, rows):
        return replace(importance(self.name, np.full(len(rows), 0.5)), variance_ratio=self.variance_ratio)


def traffic(click_rate, spread, num_batches=60, size=64):
    """Yield scored rows of a calibrated model whose logits spread around the click rate."""
    random = np.random.default_rng(0)
    for _ in range(num_batches):
        z = random.normal(np.log(click_rate / (1 - click_rate)), spread, size)
        yield ScoredRows(z, (random.random(size) < sigmoid(z)).astype(float), random.uniform(4, 6, size))


def weigh(strategy, size=500):
    return strategy.weigh(ScoredRows(np.zeros(size), np.zeros(size), np.ones(size)))


def test_equal_weights_count_fully_and_one_heavy_row_counts_as_one():
    assert effective_sample_size(np.full(8, 3.0)) == pytest.approx(8)
    assert effective_sample_size(np.array([1.0, 0.0, 0.0])) == pytest.approx(1)
    assert effective_sample_size(np.array([])) == 0


def test_a_strategy_with_a_collapsed_sample_is_replaced_by_uniform_and_counted():
    watched = WatchedStrategy(LopsidedStrategy(period=10), budget=0.25)
    names = [weigh(watched).strategy for _ in range(6)]
    assert names == ["lopsided"] * 3 + ["uniform"] * 3
    assert watched.num_replaced == {"ess": 1500, "variance": 0}
    assert (weigh(watched).inclusion_probability == 0.25).all()


def test_a_moderate_sample_is_left_alone():
    watched = WatchedStrategy(LopsidedStrategy(period=3), budget=0.25)
    assert {weigh(watched).strategy for _ in range(10)} == {"lopsided"}
    assert watched.effective_share == pytest.approx(1 / 3, rel=1e-2)


def test_a_replaced_strategy_takes_over_again_when_its_share_recovers():
    inner = LopsidedStrategy(period=10)
    watched = WatchedStrategy(inner, budget=0.25)
    for _ in range(6):
        weigh(watched)
    inner.period = 1
    assert [weigh(watched).strategy for _ in range(40)][-1] == "lopsided"


@pytest.mark.parametrize("selecting", [GradientNormSampling, LocalCaseControl])
def test_at_a_click_rate_of_one_half_selection_is_switched_off(selecting):
    watched = WatchedStrategy(selecting(0.25), budget=0.25)
    names = [watched.weigh(rows).strategy for rows in traffic(0.5, spread=0.5)]
    assert names == [selecting.name] * 31 + ["uniform"] * 29
    assert watched.variance_ratio < 1.2
    assert watched.num_replaced == {"ess": 0, "variance": 29 * 64}


@pytest.mark.parametrize("spread", [0.0, 0.5])
@pytest.mark.parametrize("selecting", [GradientNormSampling, LocalCaseControl])
def test_at_a_click_rate_of_one_in_six_selection_stays_on(selecting, spread):
    watched = WatchedStrategy(selecting(0.25), budget=0.25)
    names = {watched.weigh(rows).strategy for rows in traffic(0.16, spread)}
    assert names == {selecting.name}
    assert watched.variance_ratio == pytest.approx(1.9, abs=0.25)


def test_selection_changes_hands_at_two_different_ratios():
    inner = SelectingStrategy(1.3)
    watched = WatchedStrategy(inner, budget=0.25)
    weigh(watched, size=2000)
    names = []
    for inner.variance_ratio in (1.21, 1.19, 1.24, 1.26, 1.21):
        names.append(weigh(watched).strategy)
    assert names == ["selecting", "uniform", "uniform", "selecting", "selecting"]


def test_a_strategy_that_does_not_select_by_a_score_is_not_judged_by_one():
    watched = WatchedStrategy(SeedSigmoid(0.25), budget=0.25)
    assert {watched.weigh(rows).strategy for rows in traffic(0.5, spread=0.1)} == {"seed_sigmoid"}
    assert watched.variance_ratio is None


def test_the_latest_reason_is_told():
    watched = WatchedStrategy(SelectingStrategy(1.0), budget=0.25)
    reasons = []
    for _ in range(2):
        weigh(watched, size=1500)
        reasons.append(watched.reason)
    assert reasons == [None, "variance"]


@pytest.mark.parametrize(("click_rate", "expected"), [(0.03, "gradnorm_is"), (0.5, "uniform")])
def test_the_remembered_rows_bring_a_restarted_watch_to_the_same_decision(click_rate, expected):
    whole, restarted = (WatchedStrategy(GradientNormSampling(0.25), budget=0.25) for _ in range(2))
    batches = list(traffic(click_rate, spread=0.5, num_batches=150))
    for rows in batches:
        whole.weigh(rows)
    for rows in batches[-REMEMBERED_ROWS // 64 :]:
        restarted.weigh(rows)
    assert restarted.weigh(batches[0]).strategy == whole.weigh(batches[0]).strategy == expected
