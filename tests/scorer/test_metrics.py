import math

import pytest
from prometheus_client import CollectorRegistry

from scorer.metrics import ScorerMetrics
from scorer.micro_batch import MicroBatch
from stream.events import RoleScore, WeightedExample
from tests.doubles import tiny_labeled


@pytest.fixture
def shown() -> CollectorRegistry:
    return CollectorRegistry()


def batch(weights: list[float], *, strategy: str = "uniform", pi: float = 0.5) -> MicroBatch:
    examples = [
        WeightedExample(
            labeled=tiny_labeled(index, label=int(index == 0)),
            live=RoleScore(version="v1", z=0.0),
            hidden_norm=1.0,
            scored_ms=tiny_labeled(index).label_due_ms + 2_000,
            strategy=strategy,
            inclusion_probability=pi,
            importance_weight=weight,
        )
        for index, weight in enumerate(weights)
    ]
    return MicroBatch(examples=examples, outgoing=[], dead_letters=["malformed"], seconds={})


def value(shown: CollectorRegistry, name: str, **labels: str) -> float | None:
    return shown.get_sample_value(f"millstream_scorer_{name}", labels)


def test_counters_with_fixed_labels_start_at_zero(shown: CollectorRegistry) -> None:
    ScorerMetrics(shown)
    assert value(shown, "swaps_total", result="switched") == 0
    assert value(shown, "rows_total", label="1") == 0
    assert value(shown, "dead_letters_total", reason="malformed") == 0


def test_a_confirmed_batch_is_counted(shown: CollectorRegistry) -> None:
    ScorerMetrics(shown).count(batch([1.0, 1.0, 1.0]), "uniform")
    assert value(shown, "rows_total", label="0") == 2
    assert value(shown, "rows_total", label="1") == 1
    assert value(shown, "dead_letters_total", reason="malformed") == 1
    assert value(shown, "label_delay_seconds_sum") == 6.0
    assert value(shown, "fallback_rows_total") == 0


def test_rows_of_a_strategy_that_was_not_asked_for_are_fallbacks(shown: CollectorRegistry) -> None:
    ScorerMetrics(shown).count(batch([1.0, 1.0]), "gradnorm_is")
    assert value(shown, "fallback_rows_total") == 2


def test_equal_weights_have_the_full_effective_sample_size(shown: CollectorRegistry) -> None:
    ScorerMetrics(shown).count(batch([2.0, 2.0, 2.0]), "uniform")
    assert value(shown, "effective_sample_size_ratio") == pytest.approx(1.0)


def test_one_heavy_row_shrinks_the_effective_sample_size(shown: CollectorRegistry) -> None:
    ScorerMetrics(shown).count(batch([100.0, 0.0, 0.0, 0.0]), "uniform")
    assert value(shown, "effective_sample_size_ratio") == pytest.approx(0.25)


def test_when_nothing_is_learned_there_is_no_effective_sample_size(shown: CollectorRegistry) -> None:
    ScorerMetrics(shown).count(batch([1.0, 1.0], pi=0.0), "uniform")
    size = value(shown, "effective_sample_size_ratio")
    assert size is not None
    assert math.isnan(size)


def test_the_version_is_shown_by_its_number_and_not_as_a_label(shown: CollectorRegistry) -> None:
    ScorerMetrics(shown).model.show_version("0123abcd-000042")
    assert value(shown, "model_number") == 42
