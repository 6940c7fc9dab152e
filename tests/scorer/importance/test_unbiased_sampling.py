"""Sampling must not change what is learned: over draws, kept rows say in the mean what all rows say."""

import numpy as np
import pytest

from scorer.importance.strategies import build_strategy
from scorer.importance.strategy import ScoredRows, sigmoid

NUM_ROWS, NUM_DRAWS = 400, 10_000


def stream(seed, size=NUM_ROWS):
    """Return rows whose scores are wrong (p is twice the truth and more), the true click rates and three features."""
    random = np.random.default_rng(seed)
    z = random.normal(-1.5, 1, size)
    click_rate = sigmoid(0.7 * z - 1.0)
    label = (random.random(size) < click_rate).astype(float)
    return ScoredRows(z, label, random.uniform(4, 6, size)), click_rate, random.normal(size=(size, 3))


def settled(name, budget):
    """Return a strategy whose running means have seen thousands of rows."""
    strategy = build_strategy(name, budget)
    for seed in range(100, 120):
        strategy.weigh(stream(seed)[0])
    return strategy


def assert_zero_mean(draws):
    """Every column's mean is within five standard errors of 0."""
    assert (np.abs(draws.mean(axis=0)) < 5 * draws.std(axis=0) / np.sqrt(len(draws))).all()


@pytest.mark.parametrize("budget", [0.1, 0.25, 0.5])
@pytest.mark.parametrize("name", ["uniform", "gradnorm_is", "placebo", "class_placebo"])
def test_the_weighted_gradient_of_kept_rows_is_budget_times_that_of_all_rows(name, budget):
    """E[sum kept * w * g] = budget * sum g for these very rows, whatever their labels and scores are."""
    random = np.random.default_rng(0)
    rows, _, feature = stream(1)
    taught = settled(name, budget).weigh(rows)
    gradient = (sigmoid(rows.z) - rows.label)[:, None] * feature
    kept = random.random((NUM_DRAWS, NUM_ROWS)) < taught.inclusion_probability
    assert_zero_mean((kept * taught.importance_weight) @ gradient - budget * gradient.sum(axis=0))


@pytest.mark.parametrize("budget", [0.1, 0.25, 0.5])
@pytest.mark.parametrize(
    "name", ["full", "uniform", "negdown_offset", "lcc_offset", "gradnorm_is", "placebo", "class_placebo"]
)
def test_the_true_click_rate_is_where_the_gradient_of_kept_rows_vanishes(name, budget):
    """E[kept * w * (sigmoid(z + offset) - y) * feature] = 0 at the true z, over labels and draws, by any feature."""
    random = np.random.default_rng(0)
    strategy, sums = settled(name, budget), []
    for seed in range(1000, 1400):
        rows, click_rate, feature = stream(seed)
        taught = strategy.weigh(rows)
        kept = random.random(NUM_ROWS) < taught.inclusion_probability
        true_z = np.log(click_rate / (1 - click_rate))
        gradient = sigmoid(true_z + taught.logit_offset) - rows.label
        columns = np.column_stack([np.ones(NUM_ROWS), rows.z, feature])
        sums.append((kept * taught.importance_weight * gradient) @ columns)
    assert_zero_mean(np.array(sums))


@pytest.mark.parametrize("size", [1, 32])
@pytest.mark.parametrize("budget", [0.25, 0.5])
@pytest.mark.parametrize(
    "name",
    [
        "uniform",
        "seed_sigmoid",
        "gradnorm_is",
        "negdown_offset",
        "lcc_offset",
        "noise_fc",
        "rho_ref",
        "delay_fnw",
        "recency",
        "density_ratio",
        "topk_loss",
        "placebo",
        "class_placebo",
    ],
)
def test_on_a_stream_that_does_not_change_the_mean_of_pi_is_the_budget(name, budget, size):
    strategy = build_strategy(name, budget)
    rows, _, _ = stream(2, size=8000)
    pi = [
        strategy.weigh(ScoredRows(*(column[at : at + size] for column in (rows.z, rows.label, rows.hidden_norm))))
        for at in range(0, 8000, size)
    ]
    mean = np.concatenate([one.inclusion_probability for one in pi])[2048:].mean()
    assert mean == pytest.approx(budget, rel=0.03)
