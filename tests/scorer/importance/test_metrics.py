import math

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from scorer.importance.metrics import ImportanceMetrics
from scorer.importance.settings import ImportanceSettings
from scorer.importance.strategies import build_strategy
from scorer.importance.strategy import ScoredRows
from stream.events import RoleScore, WeightedExample
from tests.doubles import tiny_labeled


@pytest.fixture
def shown() -> CollectorRegistry:
    return CollectorRegistry()


def examples(weights: list[float], *, strategy: str = "uniform", pi: float = 0.5) -> list[WeightedExample]:
    return [
        WeightedExample(
            labeled=tiny_labeled(index),
            live=RoleScore(version="v1", z=0.0),
            hidden_norm=1.0,
            scored_ms=tiny_labeled(index).label_due_ms,
            strategy=strategy,
            inclusion_probability=pi,
            importance_weight=weight,
        )
        for index, weight in enumerate(weights)
    ]


def value(shown: CollectorRegistry, name: str, **labels: str) -> float | None:
    return shown.get_sample_value(f"millstream_scorer_{name}", labels)


@pytest.mark.parametrize("settings", [ImportanceSettings(), ImportanceSettings(position_eta=1.0)])
def test_rows_that_uniform_weighed_instead_are_counted_by_reason(
    shown: CollectorRegistry, settings: ImportanceSettings
) -> None:
    strategy = build_strategy("gradnorm_is", 0.5, settings)
    labeled = [tiny_labeled(index, label=index % 2) for index in range(4000)]
    half_clicked = ScoredRows(np.zeros(4000), np.arange(4000) % 2.0, np.ones(4000), labeled=labeled)
    assert strategy.weigh(half_clicked).strategy == "uniform"
    ImportanceMetrics(shown).count(examples([1.0, 1.0], strategy="uniform"), strategy)
    assert value(shown, "fallback_rows_total", reason="variance") == 2
    assert value(shown, "fallback_rows_total", reason="ess") == 0
    assert value(shown, "variance_ratio") == pytest.approx(1.0)


def test_rows_for_which_a_strategy_is_not_defined_are_counted_too(shown: CollectorRegistry) -> None:
    ImportanceMetrics(shown).count(examples([1.0], strategy="uniform"), build_strategy("negdown_offset", 0.5))
    assert value(shown, "fallback_rows_total", reason="undefined") == 1


def test_rows_of_the_strategy_itself_are_no_fallbacks(shown: CollectorRegistry) -> None:
    ImportanceMetrics(shown).count(examples([1.0, 1.0], strategy="gradnorm_is"), build_strategy("gradnorm_is", 0.5))
    assert value(shown, "fallback_rows_total", reason="variance") == 0


def test_a_strategy_without_a_score_has_no_variance_ratio(shown: CollectorRegistry) -> None:
    ImportanceMetrics(shown).count(examples([1.0]), build_strategy("uniform", 0.5))
    ratio = value(shown, "variance_ratio")
    assert ratio is not None
    assert math.isnan(ratio)


def test_equal_weights_have_the_full_effective_sample_size(shown: CollectorRegistry) -> None:
    ImportanceMetrics(shown).count(examples([2.0, 2.0, 2.0]), build_strategy("uniform", 0.5))
    assert value(shown, "effective_sample_size_ratio") == pytest.approx(1.0)


def test_one_heavy_row_shrinks_the_effective_sample_size(shown: CollectorRegistry) -> None:
    ImportanceMetrics(shown).count(examples([100.0, 0.0, 0.0, 0.0]), build_strategy("uniform", 0.5))
    assert value(shown, "effective_sample_size_ratio") == pytest.approx(0.25)


def test_when_nothing_is_learned_there_is_no_effective_sample_size(shown: CollectorRegistry) -> None:
    ImportanceMetrics(shown).count(examples([1.0, 1.0], pi=0.0), build_strategy("uniform", 0.5))
    size = value(shown, "effective_sample_size_ratio")
    assert size is not None
    assert math.isnan(size)
