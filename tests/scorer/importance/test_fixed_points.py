"""What logit each strategy teaches: two kinds of rows (cells), one logit each, learned from small micro-batches.

Micro-batches of one row show whether the running normalisers work; those of sixteen would show a normalisation inside
the batch (a 3 % click rate was learned as 6 to 8 %). Clicks are exactly as frequent as they should be, and a row is
learned by its expected gradient pi * w * g: what is left is what the strategy itself does.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from scorer.importance.settings import ImportanceSettings
from scorer.importance.strategies import build_strategy
from scorer.importance.strategy import ScoredRows, Strategy, sigmoid
from stream.events import Impression, LabeledImpression

CLICK_RATES = (0.05, 0.3)
BLOCK_ROWS = 200
NUM_BLOCKS = 25
TOLERANCE = 0.04


def logit(probability: float) -> float:
    return math.log(probability / (1 - probability))


def labels(click_rate: float, random: np.random.Generator) -> list[float]:
    """Return labels in random order inside each block, with as many clicks in it as the rate says."""
    num_clicks = np.diff(np.floor(np.arange(NUM_BLOCKS + 1) * BLOCK_ROWS * click_rate + 1e-9)).astype(int)
    blocks = [np.repeat([1.0, 0.0], [clicks, BLOCK_ROWS - clicks]) for clicks in num_clicks]
    return [float(label) for block in blocks for label in random.permutation(block)]


def learned_logits(
    strategy: Strategy,
    label_streams: Sequence[Sequence[float]],
    *,
    budget: float = 0.5,
    batch_rows: int = 1,
    reference: Sequence[float] | None = None,
    show: Callable[[int, float], LabeledImpression] | None = None,
) -> list[float]:
    """Return the logit that each cell converges to, the mean over the last half of the rows.

    Steps are 4 / n of Newton's (Robbins and Monro 1951), so that a cell of small weights forgets its start too.

    Args:
        strategy: What teaches.
        budget: Of the strategy, so that steps are of the same size at every budget.
        label_streams: Labels of each cell, of one length.
        batch_rows: Rows of each cell in a micro-batch.
        reference: The reference's logit of each cell.
        show: What makes a labeled impression from cell and label.
    """
    label = np.array(label_streams)
    num_cells, num_rows = label.shape
    z, history = np.full(num_cells, -1.0), []
    for start in range(0, num_rows, batch_rows):
        one = label[:, start : start + batch_rows]
        cell = np.repeat(np.arange(num_cells), one.shape[1])
        y = one.ravel()
        taught = strategy.weigh(
            ScoredRows(
                z[cell],
                y,
                np.full(len(y), 5.0),
                None if reference is None else np.array(reference)[cell],
                [show(*place) for place in zip(cell.tolist(), y.tolist(), strict=True)] if show else (),
            )
        )
        p = sigmoid(z[cell] + taught.logit_offset)
        scale = taught.inclusion_probability * taught.importance_weight / budget
        steps = scale * (p - y) / (p * (1 - p))
        z = z - 4 * one.shape[1] / (start + 100) * steps.reshape(one.shape).mean(axis=1)
        history += [z] * one.shape[1]
    return np.mean(history[num_rows // 2 :], axis=0).tolist()


def streams(click_rates: Sequence[float], seed: int = 0) -> list[list[float]]:
    random = np.random.default_rng(seed)
    return [labels(rate, random) for rate in click_rates]


def logits(click_rates: Sequence[float]) -> list[float]:
    return [logit(rate) for rate in click_rates]


@pytest.mark.parametrize("batch_rows", [1, 16])
@pytest.mark.parametrize(
    ("name", "budget"),
    [
        ("full", 0.5),
        ("uniform", 0.25),
        ("seed_sigmoid", 0.25),
        ("recency", 0.25),
        ("density_ratio", 0.25),
        ("negdown_offset", 0.25),
        ("negdown_offset", 0.5),
        ("lcc_offset", 0.1),
        ("lcc_offset", 0.25),
        ("lcc_offset", 0.5),
        ("gradnorm_is", 0.1),
        ("gradnorm_is", 0.25),
        ("gradnorm_is", 0.5),
        ("placebo", 0.25),
        ("class_placebo", 0.25),
    ],
)
def test_a_calibrated_strategy_teaches_the_click_rate(name, budget, batch_rows):
    strategy = build_strategy(name, budget)
    found = learned_logits(strategy, streams(CLICK_RATES), budget=budget, batch_rows=batch_rows)
    assert found == pytest.approx(logits(CLICK_RATES), abs=TOLERANCE)


def test_noise_correction_teaches_the_click_rate_without_the_noise():
    false, missed = 0.05, 0.1
    seen = [false * (1 - rate) + (1 - missed) * rate for rate in CLICK_RATES]
    settings = ImportanceSettings(false_click_rate=false, missed_click_rate=missed)
    found = learned_logits(build_strategy("noise_fc", 0.5, settings), streams(seen))
    assert found == pytest.approx(logits(CLICK_RATES), abs=TOLERANCE)


@pytest.mark.parametrize("strength", [0.0, 0.5, 1.0])
def test_soft_rho_teaches_a_mean_of_the_click_rate_and_the_reference(strength):
    reference = [logit(0.08), logit(0.2)]
    strategy = build_strategy("rho_ref", 0.5, ImportanceSettings(reference_strength=strength))
    found = learned_logits(strategy, streams(CLICK_RATES), reference=reference)
    expected = [(logit(q) + strength * r) / (1 + strength) for q, r in zip(CLICK_RATES, reference, strict=True)]
    assert found == pytest.approx(expected, abs=TOLERANCE)


def test_soft_rho_without_a_reference_teaches_the_click_rate():
    found = learned_logits(build_strategy("rho_ref", 0.5), streams(CLICK_RATES), reference=[math.nan, math.nan])
    assert found == pytest.approx(logits(CLICK_RATES), abs=TOLERANCE)


def test_fake_negative_weights_undo_the_early_negatives():
    """Every impression comes as a non-click, and every click again as a click: q / (1 + q) of the rows are clicks."""
    found = learned_logits(build_strategy("delay_fnw", 0.5), streams([rate / (1 + rate) for rate in CLICK_RATES]))
    assert found == pytest.approx(logits(CLICK_RATES), abs=TOLERANCE)


def test_fake_negative_weights_on_labels_that_waited_teach_too_high_a_rate():
    found = learned_logits(build_strategy("delay_fnw", 0.5), streams(CLICK_RATES))
    assert found == pytest.approx([logit(rate / (1 - rate)) for rate in CLICK_RATES], abs=TOLERANCE)


@pytest.mark.parametrize("batch_rows", [1, 16])
@pytest.mark.parametrize(("click_rate", "learned"), [(0.1, 0.2), (0.15, 0.3), (0.4, 0.5)])
def test_top_loss_teaches_the_click_rate_over_the_budget_and_never_beyond_one_half(click_rate, learned, batch_rows):
    (found,) = learned_logits(build_strategy("topk_loss", 0.5), streams([click_rate]), batch_rows=batch_rows)
    assert found == pytest.approx(logit(learned), abs=TOLERANCE)


def shown(cell: int, label: float) -> LabeledImpression:
    """Return a row of the cell: the first is at position 1, the second at 4 and bought when it is clicked."""
    impression = Impression(
        impression_id="i", event_time_ms=1, item_id="i", item_text="", user_id="bot-7" * cell, position=1 + 3 * cell
    )
    kind = ("click", "purchase")[cell] if label else None
    return LabeledImpression(
        impression=impression, label=int(label), kind=kind, label_due_ms=1, source_partition=0, source_offset=0
    )


@pytest.mark.parametrize(
    "factor", [{"purchase_weight": 2.0}, {"position_eta": 0.5}, {"position_eta": 3.0, "position_cap": 2.0}]
)
@pytest.mark.parametrize("name", ["uniform", "gradnorm_is", "lcc_offset"])
def test_a_factor_that_looks_at_the_click_shifts_the_logit_by_its_log(name, factor):
    strategy = build_strategy(name, 0.5, ImportanceSettings(**factor))
    found = learned_logits(strategy, streams(CLICK_RATES), batch_rows=16, show=shown)
    assert found == pytest.approx([logit(0.05), logit(0.3) + math.log(2)], abs=TOLERANCE)


def test_a_rule_on_what_was_shown_shifts_nothing(tmp_path):
    rules = tmp_path / "rules.toml"
    rules.write_text('[[rule]]\nname = "halve"\nmultiply = 0.5\nwhen.user_id.prefix = "bot-"\n')
    strategy = build_strategy("gradnorm_is", 0.5, ImportanceSettings(rules=rules))
    found = learned_logits(strategy, streams(CLICK_RATES), batch_rows=16, show=shown)
    assert found == pytest.approx(logits(CLICK_RATES), abs=TOLERANCE)
