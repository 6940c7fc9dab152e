import math

import numpy as np
import pytest

from scorer.evaluator.score_window import COLUMNS, ScoreWindow
from scorer.measures.auc import auc
from scorer.measures.log_loss import log_loss
from stream.events import RoleScore, Served, WeightedExample
from tests.doubles import tiny_labeled


def example(
    index: int, z: float, label: int, *, frozen: float | None = None, query: str = "", served: float | None = None
) -> WeightedExample:
    shown_with = None if served is None else Served(model_version="v0", score=served)
    return WeightedExample(
        labeled=tiny_labeled(index, label=label, query=query, served=shown_with),
        live=RoleScore(version="v1", z=z),
        frozen=None if frozen is None else RoleScore(version="v0", z=frozen),
        hidden_norm=1.0,
        scored_ms=1,
        strategy="full",
        inclusion_probability=1.0,
        importance_weight=1.0,
    )


def rows(num_rows: int, frozen_every: int = 4, seed: int = 0) -> list[WeightedExample]:
    random = np.random.default_rng(seed)
    return [
        example(
            index,
            float(random.normal()) + (label := int(random.random() < 0.3)),
            label,
            frozen=float(random.normal()) if index % frozen_every == 0 else None,
        )
        for index in range(num_rows)
    ]


def test_roles_are_compared_on_the_rows_that_all_of_them_scored() -> None:
    window = ScoreWindow(1_000, 50)
    examples = rows(400)
    window.add(examples)
    judged = window.judge()
    common = [row for row in examples if row.frozen is not None]
    assert judged.num_common == 100
    assert judged.roles["live"].auc == auc([row.live.z for row in common], [row.labeled.label for row in common])
    assert set(judged.roles) == {"live", "frozen"}


def test_the_live_role_is_judged_on_all_rows_too() -> None:
    window = ScoreWindow(1_000, 50)
    examples = rows(400)
    window.add(examples)
    live = window.judge().live_on_all
    assert live is not None
    assert live.auc == auc([row.live.z for row in examples], [row.labeled.label for row in examples])
    assert live.auc_low < live.auc < live.auc_high


def half_served(num_rows: int = 400) -> list[WeightedExample]:
    """Every second row was shown with a score of its own, which knows less than the live one."""
    random = np.random.default_rng(1)
    found = []
    for index in range(num_rows):
        label = int(random.random() < 0.3)
        served = float(np.clip(0.3 + 0.1 * label + 0.1 * random.normal(), 0.01, 0.99))
        found.append(
            example(
                index,
                label + float(random.normal()),
                label,
                frozen=float(random.normal()) if index % 4 == 1 else None,
                served=served if index % 2 == 0 else None,
            )
        )
    return found


def test_the_score_a_row_was_shown_with_is_judged_on_the_rows_that_carry_one() -> None:
    window = ScoreWindow(1_000, 50)
    examples = half_served()
    window.add(examples)
    judged = window.judge()
    shown = [row for row in examples if row.labeled.impression.served is not None]
    scores = np.array([row.labeled.impression.served.score for row in shown])
    label = [row.labeled.label for row in shown]
    assert judged.num_served == 200
    assert judged.roles["served"].auc == pytest.approx(auc(scores, label))
    assert judged.roles["served"].log_loss == pytest.approx(log_loss(np.log(scores / (1 - scores)), label))
    assert judged.roles["served"].calibration == pytest.approx(scores.sum() / sum(label))
    assert judged.live_on_served is not None
    assert judged.live_on_served.auc == auc([row.live.z for row in shown], label)


def test_served_scores_take_no_row_from_the_comparison_of_the_others() -> None:
    window, without = ScoreWindow(1_000, 50), ScoreWindow(1_000, 50)
    window.add(half_served())
    without.add(
        [
            example(i, row.live.z, row.labeled.label, frozen=row.frozen and row.frozen.z)
            for i, row in enumerate(half_served())
        ]
    )
    assert window.judge().num_common == without.judge().num_common == 100
    assert {role: window.judge().roles[role] for role in ("live", "frozen")} == without.judge().roles


def test_without_a_served_score_there_is_no_such_role() -> None:
    window = ScoreWindow(1_000, 50)
    window.add(rows(400))
    judged = window.judge()
    assert (judged.num_served, judged.live_on_served) == (0, None)
    assert "served" not in judged.roles


def test_too_few_served_scores_give_no_sample_of_them_alone() -> None:
    window = ScoreWindow(1_000, 250)
    window.add(half_served(400))
    judged = window.judge()
    assert "served" not in judged.roles
    assert judged.live_on_all is not None


@pytest.mark.parametrize("served", [-0.1, 1.1, float("nan"), float("inf")])
def test_a_served_score_that_is_no_probability_is_not_judged(served: float) -> None:
    window = ScoreWindow(1_000, 2)
    window.add([example(index, 0.0, index % 2, served=served) for index in range(10)])
    assert window.judge().num_served == 0


def test_a_served_score_of_0_or_1_spoils_no_measure() -> None:
    window = ScoreWindow(1_000, 2)
    window.add([example(index, 0.0, index % 2, served=float(index % 2)) for index in range(10)])
    served = window.judge().roles["served"]
    assert served.auc == 1.0
    assert served.log_loss == pytest.approx(0.0, abs=1e-9)


def test_a_frozen_score_that_is_not_finite_spoils_no_measure() -> None:
    window = ScoreWindow(1_000, 2)
    window.add([example(index, 0.0, index % 2, frozen=math.inf if index == 3 else 0.5) for index in range(20)])
    judged = window.judge()
    assert judged.num_common == 19
    assert math.isfinite(judged.roles["frozen"].log_loss)


def test_a_snapshot_from_before_served_scores_were_judged_is_restored() -> None:
    window = ScoreWindow(300, 50)
    window.add(rows(400))
    snapshot = window.snapshot()
    snapshot["z"] = snapshot["z"][:, : COLUMNS.index("served")]
    assert ScoreWindow.restore(snapshot, 300, 50).judge() == window.judge()


def test_the_window_keeps_the_last_rows() -> None:
    window = ScoreWindow(100, 10)
    examples = rows(250, frozen_every=1)
    for start in range(0, 250, 30):
        window.add(examples[start : start + 30])
    last = examples[-100:]
    assert len(window) == 100
    assert window.judge().roles["live"].auc == auc([r.live.z for r in last], [r.labeled.label for r in last])
    assert window.judge().click_rate == np.mean([row.labeled.label for row in last])


def test_too_few_rows_give_no_sample() -> None:
    window = ScoreWindow(1_000, 150)
    window.add(rows(400))
    judged = window.judge()
    assert judged.roles == {}
    assert judged.live_on_all is not None


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_gives_no_sample(label: int) -> None:
    window = ScoreWindow(1_000, 10)
    window.add([example(index, 0.1 * index, label) for index in range(50)])
    assert window.judge().roles == {}
    assert window.judge().live_on_all is None


def test_an_empty_window_says_nothing() -> None:
    judged = ScoreWindow(1_000, 10).judge()
    assert (judged.num_rows, judged.num_common, judged.roles, judged.live_on_all) == (0, 0, {}, None)
    assert math.isnan(judged.click_rate)


def test_rows_without_a_query_are_compared_with_none_within_a_query() -> None:
    window = ScoreWindow(1_000, 4)
    window.add(
        [
            example(0, 1.0, 0, query="red"),
            example(1, 2.0, 1, query="red"),
            example(2, 9.0, 0),
            example(3, 3.0, 1),
        ]
    )
    assert window.judge().roles["live"].auc_within_query == 1.0


def test_a_restored_window_judges_as_the_original() -> None:
    window = ScoreWindow(300, 50)
    window.add(half_served())
    assert ScoreWindow.restore(window.snapshot(), 300, 50).judge() == window.judge()
