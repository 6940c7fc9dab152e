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


def both(size, num_batches):
    """Return pi of the strategy and of its placebo, with the labels, over a stream."""
    real, placebo = GradientNormSampling(0.25), Placebo(GradientNormSampling(0.25))
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


def test_the_effective_sample_size_stays():
    real, permuted, _ = both(32, 200)
    sizes = [effective_sample_size(0.25 / pi) for pi in (real, permuted)]
    assert sizes[1] == pytest.approx(sizes[0], rel=0.03)


def test_correction_and_probability_of_a_row_travel_together():
    placebo = Placebo(GradientNormSampling(0.25))
    for seed in range(20):
        taught = placebo.weigh(rows(32, seed))
        np.testing.assert_allclose(taught.sampling_correction * taught.inclusion_probability, 0.25)


def test_its_draws_follow_from_seed_and_state_alone():
    first, second, other = (Placebo(GradientNormSampling(0.25), seed) for seed in (0, 0, 1))
    for strategy in (first, second, other):
        strategy.weigh(rows(200))
    np.random.default_rng().random()
    resumed = Placebo(GradientNormSampling(0.25))
    resumed.restore(first.snapshot())
    found = [one.weigh(rows(200, 1)).inclusion_probability.tolist() for one in (first, second, resumed, other)]
    assert found[0] == found[1] == found[2] != found[3]


def test_it_is_switched_off_together_with_what_it_is_the_placebo_of():
    inner = GradientNormSampling(0.25)
    placebo = Placebo(inner)
    placebo.weigh(rows(500))
    assert placebo.variance_ratio == inner.variance_ratio > 1
