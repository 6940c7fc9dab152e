import math

import numpy as np
import pytest

from scorer.measures import worth as module
from scorer.measures.auc import auc
from scorer.measures.log_loss import log_loss
from scorer.measures.spans import MIN_ROWS
from scorer.measures.worth import MAX_SPAN_ROWS, RECENT_SPANS, RunningWorth, span_table, worth_of


def scores(num_rows, *, live=1.0, frozen=0.4, rate=0.2, seed=0):
    """Return logits of live and frozen, and labels; each knows of the label as much as its skill says."""
    random = np.random.default_rng(seed)
    label = (random.random(num_rows) < rate).astype(np.int8)
    shared, own, other = random.normal(size=(3, num_rows))
    shared = 0.9 * shared - 1.4
    return shared + 0.4 * own + live * label, shared + 0.4 * other + frozen * label, label


def worth(*rows):
    return worth_of([span_table(*rows)])


def running(z_live, z_frozen, label, frozen="v1"):
    found = RunningWorth()
    for row in zip(z_live.tolist(), z_frozen.tolist(), label.tolist(), strict=True):
        found.add(frozen, *row)
    return found


def test_a_better_live_version_is_worth_what_it_gains():
    rows = z_live, z_frozen, label = scores(20 * MIN_ROWS)
    found = worth(*rows)
    assert found.num_rows == 20 * MIN_ROWS
    assert found.num_spans == 20
    assert found.auc.estimate == pytest.approx(auc(z_live, label) - auc(z_frozen, label), abs=0.003)
    assert found.log_loss.estimate == pytest.approx(log_loss(z_live, label) - log_loss(z_frozen, label))
    assert found.auc.low > 0
    assert found.log_loss.high < 0
    assert found.sentence.startswith(f"retraining is worth {100 * found.auc.estimate:+.1f} points of AUC [+")
    assert found.sentence.endswith(
        f" here; log loss {found.log_loss.estimate:+.4f} [{found.log_loss.low:+.4f}, {found.log_loss.high:+.4f}]"
    )


def test_a_worse_one_does_harm():
    assert worth(*scores(20 * MIN_ROWS, live=0.4, frozen=1.0)).sentence.startswith("retraining does harm here: -")


def test_of_two_versions_as_good_as_each_other_nobody_gains_and_chance_is_covered():
    found = [worth(*scores(16 * MIN_ROWS, live=0.5, frozen=0.5, seed=seed)) for seed in range(60)]
    for measure in ("auc", "log_loss"):
        intervals = [getattr(one, measure) for one in found]
        assert 50 <= sum(one.low <= 0 <= one.high for one in intervals) < 60
    assert worth(*scores(16 * MIN_ROWS, live=0.5, frozen=0.5, seed=1)).sentence.startswith(
        "nothing to gain in ranking yet"
    )


def test_rows_that_one_of_them_did_not_score_do_not_count():
    z_live, z_frozen, label = scores(10 * MIN_ROWS)
    z_frozen[::2] = np.nan
    assert worth(z_live, z_frozen, label).num_rows == 5 * MIN_ROWS


def test_few_spans_have_no_interval_and_the_sentence_says_so():
    found = worth(*scores(3 * MIN_ROWS))
    assert (found.auc, found.log_loss) == (None, None)
    assert math.isnan(found.effective_rows)
    assert found.sentence.startswith("too few rows to say what retraining is worth: 3 spans of at least 512 rows")


def test_no_row_is_no_span():
    nothing = np.zeros(0)
    assert worth(nothing, nothing, nothing).num_rows == 0
    assert RunningWorth().over_all().num_rows == 0


def test_what_swings_slowly_is_told_by_fewer_rows():
    z_live, z_frozen, label = scores(64 * MIN_ROWS)
    steady = worth(z_live, z_frozen, label)
    swinging = z_live + np.sin(np.arange(len(z_live)) / (6 * MIN_ROWS))
    assert steady.effective_rows > 10_000
    assert worth(swinging, z_frozen, label).effective_rows < 0.2 * steady.effective_rows


def test_a_stream_row_by_row_is_worth_what_all_of_it_is():
    rows = scores(20 * MIN_ROWS)
    assert running(*rows).over_all() == worth(*rows)


def test_a_span_that_has_not_ended_is_not_told_yet():
    assert running(*scores(10 * MIN_ROWS + 100)).over_all().num_rows == 10 * MIN_ROWS


def test_the_recent_spans_forget():
    good, bad = scores(RECENT_SPANS * MIN_ROWS), scores(RECENT_SPANS * MIN_ROWS, live=0.0, frozen=1.0)
    found = running(*(np.concatenate(pair) for pair in zip(good, bad, strict=True)))
    assert found.over_recent() == worth(*bad)
    assert found.over_recent().auc.high < found.over_all().auc.estimate


def test_another_frozen_version_is_another_comparison():
    found = running(*scores(10 * MIN_ROWS))
    found.add("v2", 0.0, 0.0, 1)
    assert found.over_all().num_rows == 0


def test_it_goes_on_from_a_snapshot():
    rows = scores(20 * MIN_ROWS)
    cut = 9 * MIN_ROWS + 77
    restored = RunningWorth()
    restored.restore(running(*(one[:cut] for one in rows)).snapshot())
    for row in zip(*(one[cut:].tolist() for one in rows), strict=True):
        restored.add("v1", *row)
    assert restored.over_all() == worth(*rows)


def test_old_spans_are_merged_and_still_count(monkeypatch):
    monkeypatch.setattr(module, "MAX_SPANS", 16)
    rows = scores(64 * MIN_ROWS)
    found = running(*rows)
    assert len(found.snapshot()["spans"]) <= 16
    merged, whole = found.over_all(), worth(*rows)
    assert merged.num_rows == whole.num_rows
    assert merged.auc.estimate == pytest.approx(whole.auc.estimate)
    assert merged.log_loss.estimate == pytest.approx(whole.log_loss.estimate)
    assert merged.log_loss.high == pytest.approx(whole.log_loss.high, abs=0.005)


def test_a_stream_without_a_click_does_not_fill_the_memory():
    z_live, z_frozen, _ = scores(MAX_SPAN_ROWS + 10)
    found = running(z_live, z_frozen, np.zeros(MAX_SPAN_ROWS + 10, dtype=np.int8))
    assert len(found.snapshot()["open"]) == 10
    assert found.over_all().auc is None
