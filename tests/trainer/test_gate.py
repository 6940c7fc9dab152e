import numpy as np
import pytest

from trainer.gate import JudgedRows, first_evidence, held, is_miscalibrated, judge, log_loss_difference
from trainer.settings import GateSettings

SETTINGS = GateSettings()


def rows(num_rows, *, skill, live_skill=1.0, rate=0.15, shift=0.0, seed=0):
    """Return rows whose candidate and live logits hold the truth to a degree, and noise."""
    random = np.random.default_rng(seed)
    truth = random.normal(size=num_rows)
    base = np.log(rate / (1 - rate))
    label = (random.random(num_rows) < 1 / (1 + np.exp(-(base + truth)))).astype(float)
    return JudgedRows(base + shift + skill * truth, base + live_skill * truth, label)


def judged(part, *, seconds=0.0, settings=SETTINGS):
    evidence = first_evidence(part, 1_000)
    if seconds:
        nothing = JudgedRows(*(array[:0] for array in (part.z_candidate, part.z_live, part.label)))
        evidence = evidence.followed_by(nothing, 1_000 + int(seconds * 1000))
    return judge(evidence, settings)


def test_harm_is_held():
    result = judged(rows(2000, skill=-1.0))
    assert (result.decision, result.reason) == ("hold", "auc_harm")


def test_proof_of_gain_is_not_needed():
    same = judged(rows(2000, skill=1.0))
    assert same.decision == "promote"
    assert same.auc_difference_low <= 0 <= same.auc_difference_high


def test_a_difference_within_the_tolerance_is_promoted():
    part = rows(20_000, skill=1.0)
    noise = np.random.default_rng(1).normal(scale=0.05, size=part.num_rows)
    slightly = JudgedRows(part.z_live + noise, part.z_live, part.label)
    assert judged(slightly).decision == "promote"


def test_there_is_no_decision_before_enough_clicks():
    few = rows(400, skill=-1.0)
    assert few.num_clicks < SETTINGS.min_clicks
    assert judged(few) is None


def test_evidence_of_consecutive_plans_is_pooled_until_it_suffices():
    parts = [rows(300, skill=1.0, seed=seed) for seed in range(3)]
    evidence = first_evidence(parts[0], 0)
    assert judge(evidence, SETTINGS) is None
    for time_ms, part in enumerate(parts[1:], 1):
        evidence = evidence.followed_by(part, time_ms)
    result = judge(evidence, SETTINGS)
    assert result.decision == "promote"
    assert result.num_rows == 900


def test_good_earlier_weights_cannot_vouch_for_poisoned_ones():
    evidence = first_evidence(rows(3000, skill=1.0, live_skill=0.0), 0).followed_by(rows(500, skill=-1.0, seed=1), 1)
    pooled = evidence.pooled
    result = judge(evidence, SETTINGS)
    assert pooled.num_rows == 3500
    assert (result.decision, result.reason) == ("hold", "auc_harm")
    assert result.auc_difference_high > -SETTINGS.max_auc_harm


def test_after_the_time_limit_a_worse_log_loss_holds():
    result = judged(rows(500, skill=-2.0, rate=0.05), seconds=SETTINGS.max_wait_seconds)
    assert (result.decision, result.reason) == ("hold", "log_loss_harm")


def test_after_the_time_limit_few_clicks_without_harm_promote():
    assert judged(rows(300, skill=1.0, rate=0.05), seconds=SETTINGS.max_wait_seconds).decision == "promote"


def test_after_the_time_limit_rows_without_any_click_can_decide():
    part = rows(300, skill=1.0, rate=0.02)
    none = JudgedRows(part.z_candidate, part.z_live, np.zeros(part.num_rows))
    assert judged(none, seconds=SETTINGS.max_wait_seconds).decision == "promote"


def test_scores_that_promise_too_much_are_held():
    result = judged(rows(2000, skill=1.0, shift=3.0))
    assert (result.decision, result.reason) == ("hold", "calibration")


def test_scores_that_promise_too_little_are_held():
    assert judged(rows(3000, skill=1.0, shift=-3.0)).reason == "calibration"


def test_a_candidate_that_is_off_less_than_live_is_not_held_for_it():
    part = rows(2000, skill=1.0, shift=2.0)
    assert is_miscalibrated(part, 2.0)
    assert not is_miscalibrated(JudgedRows(part.z_candidate, part.z_candidate + 1.0, part.label), 2.0)


def test_few_clicks_do_not_prove_bad_calibration():
    assert not is_miscalibrated(
        JudgedRows(np.full(20, -0.5), np.full(20, -2.0), np.array([1.0, 1.0] + [0.0] * 18)), 2.0
    )


def test_logits_that_are_not_finite_are_held():
    part = rows(2000, skill=1.0)
    part.z_candidate[5] = np.nan
    result = judged(part)
    assert (result.decision, result.reason) == ("hold", "non_finite")
    assert result.auc_candidate is None


def test_a_hold_without_rows_to_show_still_says_how_many_there_were():
    result = held("golden_query", first_evidence(rows(100, skill=1.0), 0))
    assert (result.decision, result.reason, result.num_rows) == ("hold", "golden_query", 100)


def test_the_log_loss_difference_of_equal_scores_is_zero():
    part = rows(100, skill=1.0)
    interval = log_loss_difference(JudgedRows(part.z_live, part.z_live, part.label))
    assert (interval.low, interval.estimate, interval.high) == (0.0, 0.0, 0.0)


def test_good_candidates_are_rarely_held():
    holds = 0
    for seed in range(200):
        part = rows(1000, skill=1.0, seed=seed)
        noise = np.random.default_rng(seed).normal(scale=0.3, size=part.num_rows)
        holds += judged(JudgedRows(part.z_live + noise, part.z_live, part.label)).decision == "hold"
    assert holds <= 10


def test_one_row_gives_no_log_loss_interval():
    part = rows(1, skill=1.0)
    assert np.isnan(log_loss_difference(part).low)


@pytest.mark.parametrize("field", ["auc_candidate", "auc_live", "log_loss_candidate", "log_loss_live"])
def test_the_result_shows_what_it_was_judged_on(field):
    assert getattr(judged(rows(2000, skill=1.0)), field) is not None
