import math

import numpy as np
import pytest

from scorer.evaluator.settings import EvaluatorSettings
from scorer.evaluator.state import ProgressiveEvaluator
from scorer.measures.spans import MIN_ROWS
from stream.events import Alias, ModelRelease, RoleScore, WeightedExample
from tests.doubles import tiny_labeled

SETTINGS = EvaluatorSettings(window_rows=1_000, min_rows=20)


def example(
    index: int,
    *,
    version: str = "v1",
    scored_ms: int = 1_700_000_010_000,
    z: float | None = None,
    frozen: str | None = None,
) -> WeightedExample:
    return WeightedExample(
        labeled=tiny_labeled(index, label=int(index % 5 == 0)),
        live=RoleScore(version=version, z=math.sin(index) if z is None else z),
        frozen=None if frozen is None else RoleScore(version=frozen, z=math.cos(index)),
        hidden_norm=1.0,
        scored_ms=scored_ms,
        strategy="full",
        inclusion_probability=1.0,
        importance_weight=1.0,
    )


def release(version: str, covered: dict[str, int], alias: Alias = "champion") -> ModelRelease:
    return ModelRelease(
        alias=alias,
        version=version,
        digest="",
        location="",
        reason="promoted",
        created_ms=1,
        covered_offsets=covered,
    )


def test_a_repeated_row_is_counted_and_not_judged() -> None:
    evaluator = ProgressiveEvaluator(SETTINGS)
    evaluator.add_record(0, 0, [example(1), example(2)])
    report = evaluator.add_record(0, 1, [example(1), example(3)])
    assert report.copies == {"new": 1, "repeat": 1, "late": 0}
    assert evaluator.evaluate().num_distinct == evaluator.evaluate().window.num_rows == 3


def test_what_retraining_is_worth_is_over_the_first_copies_that_both_versions_scored() -> None:
    evaluator = ProgressiveEvaluator(SETTINGS)
    rows = [example(index, frozen="v0" if index % 2 else None) for index in range(4 * MIN_ROWS)]
    for offset in range(2):
        evaluator.add_record(0, offset, rows)
    assert evaluator.evaluate().worth["all"].num_rows == 2 * MIN_ROWS
    assert evaluator.evaluate().worth["recent"].num_rows == 2 * MIN_ROWS
    again = ProgressiveEvaluator.restore(evaluator.snapshot(), SETTINGS)
    assert again.evaluate().worth["all"] == evaluator.evaluate().worth["all"]


def test_a_snapshot_of_an_older_release_has_no_comparison_and_begins_one() -> None:
    evaluator = ProgressiveEvaluator(SETTINGS)
    evaluator.add_record(0, 0, [example(index, frozen="v0") for index in range(MIN_ROWS)])
    older = {name: array for name, array in evaluator.snapshot().items() if not name.startswith("worth.")}
    restored = ProgressiveEvaluator.restore(older, SETTINGS)
    assert restored.evaluate().worth["all"].num_rows == 0
    restored.add_record(0, 1, [example(index, frozen="v0") for index in range(MIN_ROWS, 2 * MIN_ROWS)])
    assert restored.evaluate().worth["all"].num_rows == MIN_ROWS


def test_a_row_is_fresh_when_a_champion_that_covers_it_first_scores() -> None:
    evaluator = ProgressiveEvaluator(SETTINGS)
    evaluator.add_record(0, 0, [example(0)])
    evaluator.add_release(release("v2", {"0": 1}))
    due_ms = example(0).labeled.label_due_ms
    report = evaluator.add_record(0, 1, [example(2, version="v2", scored_ms=due_ms + 7_000)])
    assert report.freshness == [7.0]
    assert evaluator.evaluate().freshness[0.95] == 7.0
    assert evaluator.evaluate().num_waiting == 1


def test_a_row_that_is_read_after_a_later_version_is_credited_to_the_first_that_covers_it() -> None:
    evaluator = ProgressiveEvaluator(SETTINGS)
    due_ms = example(0).labeled.label_due_ms
    evaluator.add_release(release("v2", {"0": 1, "1": 1}))
    evaluator.add_release(release("v3", {"0": 9, "1": 9}))
    evaluator.add_record(0, 1, [example(2, version="v2", scored_ms=due_ms + 10_000)])
    evaluator.add_record(0, 2, [example(4, version="v3", scored_ms=due_ms + 70_000)])
    report = evaluator.add_record(1, 0, [example(0, scored_ms=due_ms + 1_000)])
    assert report.freshness == [10.0]


def test_only_champions_make_rows_fresh() -> None:
    evaluator = ProgressiveEvaluator(SETTINGS)
    evaluator.add_record(0, 0, [example(0)])
    evaluator.add_record(0, 1, [example(2, version="v2")])
    assert evaluator.add_release(release("v2", {"0": 1}, alias="previous")) == []
    assert len(evaluator.add_release(release("v2", {"0": 1}))) == 1


def test_a_score_that_is_not_finite_spoils_no_measure() -> None:
    evaluator = ProgressiveEvaluator(SETTINGS)
    evaluator.add_record(0, 0, [example(index) for index in range(40)] + [example(99, z=math.nan)])
    live = evaluator.evaluate().window.live_on_all
    assert live is not None
    assert math.isfinite(live.log_loss)
    assert evaluator.evaluate().num_distinct == 41


def test_a_restored_evaluator_knows_what_the_original_knew() -> None:
    evaluator = ProgressiveEvaluator(SETTINGS)
    evaluator.add_record(0, 0, [example(index) for index in range(60)])
    evaluator.add_release(release("v2", {"0": 1}))
    evaluator.add_record(0, 1, [example(index, version="v2") for index in range(60, 90)])
    restored = ProgressiveEvaluator.restore(evaluator.snapshot(), SETTINGS)
    before, after = evaluator.evaluate(), restored.evaluate()
    assert (after.window, after.num_distinct, after.freshness, after.num_waiting) == (
        before.window,
        before.num_distinct,
        before.freshness,
        before.num_waiting,
    )
    assert after.mean_rate == pytest.approx(before.mean_rate)


def test_a_restored_evaluator_judges_no_row_twice() -> None:
    evaluator = ProgressiveEvaluator(SETTINGS)
    evaluator.add_record(0, 0, [example(index) for index in range(60)])
    restored = ProgressiveEvaluator.restore(evaluator.snapshot(), SETTINGS)
    assert restored.add_record(0, 0, [example(index) for index in range(60)]).copies["new"] == 0


def test_a_snapshot_holds_plain_arrays_only() -> None:
    evaluator = ProgressiveEvaluator(SETTINGS)
    evaluator.add_record(0, 0, [example(index) for index in range(5)])
    assert all(isinstance(array, np.ndarray) and not array.dtype.hasobject for array in evaluator.snapshot().values())
