from dataclasses import replace

import numpy as np
import pytest

from scorer.engine.engine import Engine, ScoredBatch
from scorer.importance.strategies import build_strategy
from scorer.live.roles import Roles
from scorer.scoring.scoring import Scoring
from scorer.settings import ScorerSettings
from stream.settings import JoinSettings
from tests.doubles import tiny_bundle
from tests.trainer.backtest.tiny import tiny_arm, tiny_stream
from trainer.backtest.runs.frozen_scores import FrozenScores
from trainer.backtest.runs.offline_scorer import OfflineScorer


@pytest.fixture
def scorer(bert, tmp_path):
    settings = tiny_arm(bert).scorer
    bundle = tiny_bundle(tmp_path, number=3)
    frozen = FrozenScores(bundle, settings)
    scoring = Scoring(Roles(Engine(bundle, settings), frozen), build_strategy("uniform", 0.5))
    rows = tiny_stream(tmp_path, 250).rows(0)
    return OfflineScorer(rows, scoring, frozen, settings, plan_rows=100, first_row=40)


def plans(scorer):
    scorer.read()
    while (scored := scorer.score()) is not None:
        yield scored
        scorer.read()


def test_a_plan_is_one_record_and_the_last_one_takes_the_rest(scorer):
    found = list(plans(scorer))
    assert [(one.record.offset, len(one.record.rows), one.first_row) for one in found] == [
        (0, 100, 40),
        (1, 100, 140),
        (2, 50, 240),
    ]
    assert {one.live_version for one in found} == {3}


def test_the_time_of_a_record_is_when_its_newest_label_was_due(scorer):
    first = next(plans(scorer)).record
    assert first.timestamp_ms == first.rows[-1].labeled.label_due_ms == 1_700_000_000_000 + 99 * 10_000 + 1_800_000


def test_every_row_has_both_scores_and_an_importance(scorer):
    for row in next(plans(scorer)).record.rows:
        assert row.live.z == pytest.approx(row.frozen.z, abs=1e-5)
        assert row.inclusion_probability == 0.5


def test_predictions_are_of_first_copies_alone_at_their_places(scorer):
    scored = next(plans(scorer))
    found = scored.predictions([scored.record.rows[place] for place in (0, 3, 7)])
    assert found.index.tolist() == [40, 43, 47]
    assert found.label.tolist() == [scored.record.rows[place].labeled.label for place in (0, 3, 7)]
    assert np.isnan(found.click_probability).all()


class Numbered:
    """A version whose every logit is its number."""

    def __init__(self) -> None:
        self.number = 1
        self.asked: list[str] = []

    def score(self, impressions):
        z = np.full(len(impressions), float(self.number))
        self.asked += [one.impression_id for one in impressions]
        return ScoredBatch(z, z, np.ones(len(z)), f"00000000-{self.number:06d}", 0, 0)


def played(rows, live, *, plan_rows=100):
    """Play a stream on which every plan is followed by a new version; return scored plans and times of decision."""
    settings = ScorerSettings(max_batch_rows=64, frozen_share=0.5)
    scoring = Scoring(Roles(live), build_strategy("uniform", 0.5))
    scorer = OfflineScorer(rows, scoring, live, settings, plan_rows=plan_rows, first_row=0)
    found, decided_ms = [], []
    for scored in plans(scorer):
        found.append(scored)
        decided_ms.append(scored.record.timestamp_ms)
        live.number += 1
    return found, decided_ms


def test_a_row_is_shown_by_the_version_that_served_a_window_before_its_label(tmp_path):
    live = Numbered()
    # 180 rows to a window, so that labels are due nearly two plans after their rows are shown.
    scored, decided_ms = played(tiny_stream(tmp_path, 1_000).rows(0), live)
    shown = [row for one in scored for row in one.record.rows]
    z_served = np.concatenate([one.predictions(one.record.rows).z_served for one in scored])
    served = [1 + sum(t < row.labeled.impression.event_time_ms for t in decided_ms) for row in shown]
    assert z_served.tolist() == served
    assert [row.live.z for row in shown] == [1 + number // 100 for number in range(1_000)]
    assert max(row.live.z - z for row, z in zip(shown, z_served, strict=True)) == 2


def test_no_version_that_showed_a_row_had_a_label_whose_window_was_open_then(tmp_path):
    scored, _ = played(tiny_stream(tmp_path, 1_000).rows(0), Numbered())
    due_ms = [max(row.labeled.label_due_ms for row in one.record.rows) for one in scored]
    for one in scored:
        for row, z in zip(one.record.rows, one.predictions(one.record.rows).z_served, strict=True):
            if z > 1:  # version k + 1 was decided on when plan k was complete
                assert due_ms[int(z) - 2] <= row.labeled.impression.event_time_ms


def test_a_window_shorter_than_a_plan_costs_a_second_score_of_few_rows(tmp_path):
    stream = replace(tiny_stream(tmp_path, 1_000), join=JoinSettings(window_seconds=100.0))
    live = Numbered()
    played(stream.rows(0), live)
    assert 1_000 < len(live.asked) < 1_150


def test_early_negatives_are_shown_once(tmp_path):
    live = Numbered()
    scored, _ = played(tiny_stream(tmp_path, 300).with_early_negatives().rows(0), live)
    assert sum(len(one.predictions(one.record.rows)) for one in scored) == 300
    assert all(len(one.predictions(one.record.rows).z_served) == one.num_impressions for one in scored)


def test_an_empty_stream_gives_nothing(scorer):
    list(plans(scorer))
    assert scorer.score() is None
