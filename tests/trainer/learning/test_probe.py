import math

import numpy as np
import pytest
import torch

from scorer.engine.engine import forward_rows
from scorer.importance.gradient_norm import gradient_norm
from scorer.importance.stability import stability
from tests.doubles import tiny_bundle
from tests.trainer.rig import Rig, example, recorded_log
from trainer.learning.probe import ProbeSet
from trainer.settings import TrainerSettings

ROWS = [example(index, label=index % 4 == 0) for index in range(100)]


@pytest.fixture
def bundle(tmp_path):
    return tiny_bundle(tmp_path)


def probe_of(num_rows, rows=ROWS):
    probe = ProbeSet(TrainerSettings(probe_rows=num_rows))
    probe.offer(rows)
    return probe


def move(bundle):
    """Turn every logit round."""
    with torch.no_grad():
        for parameter in (bundle.model.head.weight, bundle.model.head.bias, bundle.model.position_logit.weight):
            parameter.mul_(-1)


def test_the_first_rows_of_each_label_are_kept(bundle):
    probe = probe_of(20)
    alike = probe_of(20, [row for row in ROWS if not row.labeled.label][:10] + ROWS[:40])
    alike.offer(ROWS[40:])
    for one in (probe, alike):
        one.rescore(bundle)
    move(bundle)
    assert len(probe) == len(alike) == 20
    assert probe.rescore(bundle) == alike.rescore(bundle)


def test_nothing_is_compared_before_the_probe_is_full(bundle):
    probe = probe_of(20, ROWS[:30])
    assert not probe.is_full
    assert [probe.rescore(bundle) for _ in range(2)] == [None, None]
    probe.offer(ROWS[30:])
    assert probe.is_full
    assert probe.rescore(bundle) is None
    assert probe.rescore(bundle) is not None


def test_weights_that_stay_give_perfect_stability(bundle):
    probe = probe_of(40)
    probe.rescore(bundle)
    found = probe.rescore(bundle)
    assert (found.spearman_clicked, found.spearman_not_clicked) == pytest.approx((1, 1))
    assert (found.top_overlap, found.total_variation) == pytest.approx((1, 0))


def test_each_round_is_compared_with_the_one_before(bundle):
    probe = probe_of(40)
    probe.rescore(bundle)
    move(bundle)
    assert probe.rescore(bundle).spearman_not_clicked < 0
    assert probe.rescore(bundle).spearman_not_clicked == pytest.approx(1)


def test_what_is_compared_is_the_score_of_the_default_strategy(bundle):
    kept = [row for row in ROWS if not row.labeled.label][:10] + [row for row in ROWS if row.labeled.label][:10]
    label = np.array([row.labeled.label for row in kept], dtype=float)
    encoded = bundle.featurizer.encode([row.labeled.impression for row in kept])
    probe = probe_of(20)
    scores = []
    for _ in range(2):
        z, hidden_norm = forward_rows(bundle, encoded, max_batch_tokens=2048)
        scores.append(gradient_norm(z, label, hidden_norm))
        found = probe.rescore(bundle)
        move(bundle)
    assert found == stability(*scores, label)


def test_scores_that_are_not_finite_begin_anew(bundle):
    probe = probe_of(20)
    probe.rescore(bundle)
    bias = bundle.model.head.bias.data
    bias.fill_(math.nan)
    assert probe.rescore(bundle) is None
    bias.fill_(0.0)
    assert probe.rescore(bundle) is None
    assert probe.rescore(bundle) is not None


def test_a_probe_of_no_rows_is_off(bundle):
    probe = probe_of(0)
    assert len(probe) == 0
    assert [probe.rescore(bundle) for _ in range(2)] == [None, None]


def test_what_is_learned_does_not_depend_on_the_probe(tmp_path):
    digests = set()
    for num_rows in (0, 32):
        settings = TrainerSettings(
            update_rows=64, batch_rows=8, warmup_steps=4, replay_share=0.25, probe_rows=num_rows, probe_every=1
        )
        rig = Rig(tmp_path / str(num_rows), recorded_log(300), settings=settings)
        rig.run_to_end()
        digests.add(rig.checkpoint_digest())
    assert len(digests) == 1


def test_the_trainer_shows_every_few_updates_how_stable_the_scores_are(tmp_path):
    settings = TrainerSettings(update_rows=64, batch_rows=8, probe_rows=32, probe_every=2)
    rig = Rig(tmp_path, recorded_log(450), settings=settings)
    shown = []
    while len(shown) < 6:
        rig.clock.advance(10.0)
        rig.trainer.step()
        if rig.trainer.line.state.update > len(shown):
            shown.append(rig.metrics.probe.top_overlap._value.get())
    assert [math.isnan(value) for value in shown] == [True, True, True, False, False, False]
    assert 0 < rig.metrics.probe.spearman.labels("not_clicked")._value.get() <= 1
