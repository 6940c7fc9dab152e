import numpy as np
import pytest

from scorer.engine import Engine
from scorer.importance.strategies import build_strategy
from scorer.scoring import Scoring
from tests.doubles import tiny_bundle
from tests.trainer.backtest.tiny import tiny_arm, tiny_stream
from trainer.backtest.frozen_scores import FrozenScores
from trainer.backtest.offline_scorer import OfflineScorer


@pytest.fixture
def scorer(bert, tmp_path):
    settings = tiny_arm(bert).scorer
    bundle = tiny_bundle(tmp_path, number=3)
    frozen = FrozenScores(bundle, settings)
    scoring = Scoring(Engine(bundle, settings), build_strategy("uniform", 0.5), frozen=frozen)
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


def test_an_empty_stream_gives_nothing(scorer):
    list(plans(scorer))
    assert scorer.score() is None
