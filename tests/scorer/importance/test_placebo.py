import numpy as np
import pytest

from scorer.importance.effective_sample_size import effective_sample_size
from scorer.importance.gradient_norm import GradientNormSampling
from scorer.importance.placebo import POOL_ROWS, Placebo
from scorer.importance.strategy import ScoredRows, sigmoid


def rows(size, seed=0):
    random = np.random.default_rng(seed)
    z = random.normal(-2, 1, size)
    return ScoredRows(z, (random.random(size) < sigmoid(z)).astype(float), random.uniform(4, 6, size))


def placebo_of(strategy, *, within_class=False, seed=0):
    return Placebo(strategy, within_class=within_class, seed=seed)


def both(size, num_batches, *, within_class=True):
    """Return pi of the strategy and of its placebo, with the labels, over a stream."""
    real, placebo = GradientNormSampling(0.25), placebo_of(GradientNormSampling(0.25), within_class=within_class)
    batches = [rows(size, seed) for seed in range(num_batches)]
    pairs = [(real.weigh(batch), placebo.weigh(batch)) for batch in batches]
    label = np.concatenate([batch.label for batch in batches])
    columns = [np.concatenate([pair[k].inclusion_probability for pair in pairs]) for k in (0, 1)]
    return columns[0], columns[1], label


@pytest.mark.parametrize("size", [1, 8, 512])
def test_rows_of_a_label_exchange_their_weights_and_no_row_knows_its_own(size):
    real, permuted, label = both(size, 8192 // size)
    for value in (0, 1):
        chosen = label == value
        settled = chosen & (np.cumsum(chosen) > 2 * POOL_ROWS)
        assert abs(np.corrcoef(real[settled], permuted[settled])[0, 1]) < 0.15
        assert permuted[settled].mean() == pytest.approx(real[settled].mean(), rel=0.05)
        assert set(permuted[chosen].tolist()) <= set(real[chosen].tolist())


@pytest.mark.parametrize("size", [1, 8, 512])
def test_over_all_rows_a_click_is_drawn_no_more_often_than_another_row(size):
    real, permuted, label = both(size, 16384 // size, within_class=False)
    clicked = label == 1
    assert real[clicked].mean() > 2 * real[~clicked].mean()
    assert permuted[clicked].mean() == pytest.approx(permuted[~clicked].mean(), rel=0.1)
    assert permuted.mean() == pytest.approx(real.mean(), rel=0.05)


@pytest.mark.parametrize("within_class", [False, True])
def test_the_effective_sample_size_stays(within_class):
    real, permuted, _ = both(32, 200, within_class=within_class)
    sizes = [effective_sample_size(0.25 / pi) for pi in (real, permuted)]
    assert sizes[1] == pytest.approx(sizes[0], rel=0.03)


def test_correction_and_probability_of_a_row_travel_together():
    placebo = placebo_of(GradientNormSampling(0.25))
    for seed in range(20):
        taught = placebo.weigh(rows(32, seed))
        np.testing.assert_allclose(taught.sampling_correction * taught.inclusion_probability, 0.25)


@pytest.mark.parametrize("within_class", [False, True])
def test_its_draws_follow_from_seed_and_rows_alone(within_class):
    first, second, other = (
        placebo_of(GradientNormSampling(0.25), within_class=within_class, seed=seed) for seed in (0, 0, 1)
    )
    for strategy in (first, second, other):
        strategy.weigh(rows(200))
    np.random.default_rng().random()
    found = [one.weigh(rows(200, 1)).inclusion_probability.tolist() for one in (first, second, other)]
    assert found[0] == found[1] != found[2]


def test_it_is_switched_off_together_with_what_it_is_the_placebo_of():
    placebo = placebo_of(GradientNormSampling(0.25))
    assert placebo.weigh(rows(500)).variance_ratio == GradientNormSampling(0.25).weigh(rows(500)).variance_ratio > 1
