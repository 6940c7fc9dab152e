import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from scorer.registry.registry import copy_with_shared_tensors
from tests.doubles import tiny_bundle, tiny_labeled
from trainer.promotion.ladder import SWITCHING, Ladder, drawn_rows, fixed_share
from trainer.settings import TrainerSettings


@pytest.fixture
def bundle(tmp_path):
    return tiny_bundle(tmp_path / "tokenizer")


def bundle_like(bundle):
    """Return a bundle with a model of its own and the same weights."""
    return replace(bundle, model=copy_with_shared_tensors(bundle.model))


def move(bundle, by):
    """Move each of the bundle's trained tensors by a number: it has learned."""
    with torch.no_grad():
        for tensor in bundle.model.trainable_parameters().values():
            tensor.add_(by)


def weights(bundle):
    return {name: tensor.detach().clone() for name, tensor in bundle.model.trainable_parameters().items()}


def served(ladder, bundle):
    return {name: tensor.clone() for name, tensor in ladder.candidate(bundle).model.trainable_parameters().items()}


def look(ladder, bundle, *, num_rows=64, seed=0):
    labeled = [tiny_labeled(index) for index in range(num_rows)]
    rows = bundle.featurizer.encode([one.impression for one in labeled])
    return ladder.look(bundle, rows, [one.label for one in labeled], [0.0] * num_rows, seed)


def regret_bound(num_steps, num_rounds, num_changes):
    return (
        math.log(num_steps)
        + num_changes * math.log((num_steps - 1) / SWITCHING)
        + (num_rounds - 1 - num_changes) * -math.log1p(-SWITCHING)
    )


@pytest.mark.parametrize("num_changes", [0, 1, 5])
@pytest.mark.parametrize("seed", range(5))
def test_the_mixture_loses_no_more_to_the_best_step_of_each_stretch_than_the_bound(seed, num_changes):
    random, num_steps, num_rounds = np.random.default_rng(seed), 3, 300
    # The best of each stretch is far better than the rest; a mean of all histories' rounds would lose all to it.
    best = np.repeat(random.integers(0, num_steps, num_changes + 1), math.ceil(num_rounds / (num_changes + 1)))
    losses = random.exponential(2.0, (num_rounds, num_steps))
    losses[np.arange(num_rounds), best[:num_rounds]] = random.exponential(0.1, num_rounds)
    share, lost = np.full(num_steps, 1 / num_steps), 0.0
    for loss in losses:
        lost -= math.log(float(share @ np.exp(-loss)))
        share = fixed_share(share, loss)
    least = float(losses[np.arange(num_rounds), best[:num_rounds]].sum())
    changes = int((np.diff(best[:num_rounds]) != 0).sum())
    assert lost - least <= regret_bound(num_steps, num_rounds, changes)


def test_the_bound_is_reached_within_a_nat_when_the_worst_happens():
    share, lost = np.full(2, 0.5), 0.0
    for _ in range(50):
        lost -= math.log(float(share @ np.exp([0.0, -50.0])))
        share = fixed_share(share, np.array([0.0, 50.0]))
    assert share[0] == pytest.approx(1 - SWITCHING)


def test_a_step_that_was_never_believed_is_believed_once_it_is_best():
    share = np.array([0.0, 0.5, 0.5])
    for _ in range(5):
        share = fixed_share(share, np.array([0.0, 5.0, 5.0]))
    assert share[0] > 0.9


def test_a_step_that_is_not_believed_yet_does_not_undo_the_others_however_much_better_it_is():
    assert fixed_share(np.array([0.0, 0.5, 0.5]), np.array([0.0, 2000.0, 2001.0]))[1] > 0.7


def test_shares_sum_to_one_whatever_the_losses():
    assert fixed_share(np.full(3, 1 / 3), np.array([0.0, 1e6, 1e300])).sum() == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("num_clicks", "num_others", "drawn_clicks", "drawn_others"),
    [(50, 300, 8, 8), (2, 300, 2, 14), (300, 3, 13, 3), (0, 300, 0, 16), (3, 4, 3, 4)],
)
def test_clicks_are_half_of_the_draw_where_there_are_so_many(num_clicks, num_others, drawn_clicks, drawn_others):
    label = np.repeat([1, 0], [num_clicks, num_others])
    drawn = drawn_rows(label, np.zeros(len(label)), 16, np.random.default_rng(0))
    assert (label[drawn.index] == 1).sum() == drawn_clicks
    assert (label[drawn.index] == 0).sum() == drawn_others
    assert len(set(drawn.index.tolist())) == len(drawn.index)


def test_the_drawn_rows_stand_for_all_of_them():
    label = np.repeat([1, 0], [50, 300])
    value = np.arange(350.0) + 100 * label
    random = np.random.default_rng(0)
    draws = [drawn_rows(label, random.normal(size=350), 64, random) for _ in range(400)]
    means = [float((one.weight * value[one.index]).mean()) for one in draws]
    assert np.mean(means) == pytest.approx(value.mean(), rel=0.01)


def test_the_drawn_rows_of_each_label_are_spread_over_what_was_live():
    random = np.random.default_rng(0)
    label, z = np.repeat([1, 0], [100, 300]), random.normal(size=400)
    drawn = drawn_rows(label, z, 20, random)
    for value in (0, 1):
        tenth = np.searchsorted(np.quantile(z[label == value], np.arange(0.1, 1.0, 0.1)), z[drawn.index])
        assert sorted(tenth[label[drawn.index] == value]) == list(range(10))


def test_no_rows_draw_nothing():
    assert len(drawn_rows([], [], 16, np.random.default_rng(0)).index) == 0


def test_what_serves_at_the_start_are_the_weights_exactly(bundle):
    learner = bundle.model.trainable_parameters()
    first = served(Ladder(bundle, bundle_like(bundle), TrainerSettings()), bundle)
    assert all(torch.equal(tensor, learner[name]) for name, tensor in first.items())


def test_one_step_is_a_running_average_and_what_serves_the_mean_by_share(bundle):
    start = weights(bundle)
    ladder = Ladder(bundle, None, TrainerSettings(steady_updates=5))
    ladder.shares = {"steady": 0.25, "newest": 0.75}
    move(bundle, 1.0)
    ladder.follow(1.0)
    for name, tensor in served(ladder, bundle).items():
        assert torch.allclose(tensor, start[name] + 0.25 * 0.2 + 0.75 * 1.0, atol=1e-5)


def test_the_average_goes_on_from_what_would_serve(bundle):
    start = weights(bundle)
    ladder = Ladder(bundle, None, TrainerSettings(steady_updates=5))
    ladder.shares = {"steady": 0.0, "newest": 1.0}
    for _ in range(2):
        move(bundle, 1.0)
        ladder.follow(1.0)
    for name, tensor in ladder.tensors().items():
        # From 1, which served, a fifth of the way to 2; nothing of what was averaged before.
        assert torch.allclose(tensor, start[name.removeprefix("steady/")] + 1.2, atol=1e-5)


def test_two_half_updates_move_an_average_as_one_whole_does(bundle):
    whole, halves = (Ladder(bundle, None, TrainerSettings()) for _ in range(2))
    whole.shares = halves.shares = {"steady": 1.0, "newest": 0.0}
    move(bundle, 1.0)
    whole.follow(1.0)
    halves.follow(0.5)
    halves.follow(0.5)
    for name, tensor in served(whole, bundle).items():
        assert torch.allclose(tensor, served(halves, bundle)[name], atol=1e-5)


def test_without_rows_to_choose_by_the_newest_weights_serve(bundle):
    ladder = Ladder(bundle, bundle_like(bundle), TrainerSettings(ladder_rows=0))
    move(bundle, 1.0)
    ladder.follow(1.0)
    assert all(torch.equal(tensor, weights(bundle)[name]) for name, tensor in served(ladder, bundle).items())


def test_the_learners_own_weights_are_not_touched(bundle):
    ladder = Ladder(bundle, bundle_like(bundle), TrainerSettings())
    move(bundle, 1.0)
    before = weights(bundle)
    ladder.follow(1.0)
    look(ladder, bundle)
    assert all(torch.equal(tensor, before[name]) for name, tensor in weights(bundle).items())


def test_rows_that_the_anchor_knows_better_raise_its_share_and_serve_it_at_once(bundle):
    anchor = bundle_like(bundle)
    ladder = Ladder(bundle, anchor, TrainerSettings())
    move(bundle, 3.0)  # spoiled
    ladder.follow(1.0)
    before = served(ladder, bundle)
    assert look(ladder, bundle) == 3 * 32
    for seed in range(1, 4):
        look(ladder, bundle, seed=seed)
    assert ladder.shares["anchor"] > 0.9
    assert sum(ladder.shares.values()) == pytest.approx(1.0)
    for name, tensor in served(ladder, bundle).items():
        away = (before[name] - weights(anchor)[name]).abs().sum()
        assert (tensor - weights(anchor)[name]).abs().sum() < 0.5 * away


def test_weights_that_are_not_finite_are_seen_and_change_no_share(bundle):
    ladder = Ladder(bundle, None, TrainerSettings())
    assert ladder.is_finite()
    move(bundle, math.nan)
    ladder.follow(1.0)
    assert not ladder.is_finite()
    before = dict(ladder.shares)
    look(ladder, bundle, num_rows=16)
    assert ladder.shares == before


def test_average_and_shares_come_back_from_a_checkpoint(bundle):
    anchor = bundle_like(bundle)
    ladder = Ladder(bundle, anchor, TrainerSettings())
    ladder.shares = {"anchor": 0.5, "steady": 0.25, "newest": 0.25}
    move(bundle, 1.0)
    ladder.follow(1.0)
    again = Ladder(bundle, anchor, TrainerSettings())
    again.restore(ladder.tensors(), ladder.shares)
    for _ in range(2):
        assert all(torch.equal(tensor, served(again, bundle)[name]) for name, tensor in served(ladder, bundle).items())
        move(bundle, 1.0)
        ladder.follow(1.0)
        again.follow(1.0)


def test_a_checkpoint_of_an_older_release_serves_its_weights(bundle):
    ladder = Ladder(bundle, bundle_like(bundle), TrainerSettings())
    move(bundle, 1.0)
    ladder.restore({}, {})
    assert all(torch.equal(tensor, weights(bundle)[name]) for name, tensor in served(ladder, bundle).items())
