import math

import numpy as np
import pytest

from scorer.auc import auc
from scorer.score_window import ScoreWindow
from stream.events import RoleScore, WeightedExample
from tests.doubles import tiny_labeled


def example(index: int, z: float, label: int, *, frozen: float | None = None, query: str = "") -> WeightedExample:
    return WeightedExample(
        labeled=tiny_labeled(index, label=label, query=query),
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
    window.add(rows(400))
    assert ScoreWindow.restore(window.snapshot(), 300, 50).judge() == window.judge()
