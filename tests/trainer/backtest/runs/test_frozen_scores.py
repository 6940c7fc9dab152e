import numpy as np

from scorer.engine.engine import Engine
from scorer.settings import ScorerSettings
from tests.doubles import tiny_bundle, tiny_impression
from trainer.backtest.runs.frozen_scores import FrozenScores

BATCHES = [[tiny_impression(index) for index in range(start, start + 5)] for start in (0, 5, 10)]


def test_what_was_scored_ahead_is_what_an_engine_says(tmp_path):
    bundle = tiny_bundle(tmp_path)
    frozen, engine = FrozenScores(bundle, ScorerSettings()), Engine(bundle, ScorerSettings())
    for batch in BATCHES[:2]:
        frozen.look_ahead(batch)
    for batch in BATCHES:
        assert np.array_equal(frozen.score(batch).z, engine.score(batch).z)
        assert frozen.version == engine.version


def test_another_run_may_know_what_was_said(tmp_path):
    frozen = FrozenScores(tiny_bundle(tmp_path), ScorerSettings())
    said = [frozen.score(batch).z for batch in BATCHES]
    other = FrozenScores(tiny_bundle(tmp_path, seed=9), ScorerSettings(), frozen.said)
    other.look_ahead(BATCHES[0])
    assert all(np.array_equal(other.score(batch).z, z) for batch, z in zip(BATCHES, said, strict=True))
    assert np.array_equal(other.said, frozen.said)


def test_nothing_said_is_an_empty_array(tmp_path):
    assert FrozenScores(tiny_bundle(tmp_path), ScorerSettings()).said.shape == (0,)
