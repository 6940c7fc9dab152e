import numpy as np
import pytest

from scorer.measures.differences import Differences, averaged, block_interval, seed_interval


def noise(seed: int, num_spans: int = 200, *, mean: float = 0.0, memory: float = 0.0) -> Differences:
    random = np.random.default_rng(seed)
    value = random.normal(size=num_spans)
    for place in range(1, num_spans):
        value[place] += memory * value[place - 1]
    return Differences(value + mean, np.ones(num_spans))


def test_the_estimate_is_the_weighted_mean():
    stream = Differences(np.array([1.0, 4.0] * 10), np.array([1.0, 2.0] * 10))
    assert block_interval([stream]).estimate == stream.mean == 3.0


def test_the_interval_covers_zero_about_as_often_as_it_says():
    covered = [(found := block_interval([noise(seed)])).low <= 0 <= found.high for seed in range(100)]
    assert 85 <= sum(covered) <= 99


def test_the_interval_lies_around_the_estimate_even_if_the_last_span_decides():
    stream = Differences(np.array([0.0] * 15 + [1.0]), np.ones(16))
    found = block_interval([stream])
    assert found.low < found.estimate == 1 / 16 < found.high


def test_what_swings_slowly_is_known_less_well():
    white, slow = block_interval([noise(0)]), block_interval([noise(0, memory=0.9)])
    scale = np.std(noise(0, memory=0.9).value) / np.std(noise(0).value)
    assert slow.high - slow.low > 1.5 * scale * (white.high - white.low)


def test_more_streams_narrow_the_interval():
    one, four = block_interval([noise(0)]), block_interval([noise(seed) for seed in range(4)])
    assert four.high - four.low < 0.7 * (one.high - one.low)


def test_seeds_of_one_log_are_one_sample_of_time():
    mean = averaged([noise(0), noise(0, mean=1.0)])
    assert mean.value == pytest.approx(noise(0, mean=0.5).value)


def test_over_seeds_the_spread_of_seeds_decides():
    found = seed_interval([noise(seed, mean=seed % 2) for seed in range(10)])
    assert found.low < found.estimate < found.high
    assert found.high - found.low == pytest.approx(2 * 1.96 * 0.5 / np.sqrt(10), rel=0.25)


def test_the_same_differences_give_the_same_interval():
    assert block_interval([noise(3)]) == block_interval([noise(3)])


def test_a_block_is_as_long_as_the_root_of_the_spans():
    assert noise(0, 200).block_length == 15
