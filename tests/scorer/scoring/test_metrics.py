import pytest
from prometheus_client import CollectorRegistry

from scorer.importance.strategies import build_strategy
from scorer.scoring.metrics import ScorerMetrics
from scorer.scoring.micro_batch import MicroBatch
from stream.events import RoleScore, WeightedExample
from tests.doubles import tiny_labeled


@pytest.fixture
def shown() -> CollectorRegistry:
    return CollectorRegistry()


def batch(num_rows: int) -> MicroBatch:
    examples = [
        WeightedExample(
            labeled=tiny_labeled(index, label=int(index == 0)),
            live=RoleScore(version="v1", z=0.0),
            hidden_norm=1.0,
            scored_ms=tiny_labeled(index).label_due_ms + 2_000,
            strategy="uniform",
            inclusion_probability=0.5,
            importance_weight=1.0,
        )
        for index in range(num_rows)
    ]
    return MicroBatch(examples=examples, deliveries=[], dead_letters=["malformed"], seconds={})


def value(shown: CollectorRegistry, name: str, **labels: str) -> float | None:
    return shown.get_sample_value(f"millstream_scorer_{name}", labels)


def test_counters_with_fixed_labels_start_at_zero(shown: CollectorRegistry) -> None:
    ScorerMetrics(shown)
    assert value(shown, "swaps_total", result="switched") == 0
    assert value(shown, "rows_total", label="1") == 0
    assert value(shown, "dead_letters_total", reason="malformed") == 0


def test_a_confirmed_batch_is_counted(shown: CollectorRegistry) -> None:
    ScorerMetrics(shown).count(batch(3), build_strategy("uniform", 0.5))
    assert value(shown, "rows_total", label="0") == 2
    assert value(shown, "rows_total", label="1") == 1
    assert value(shown, "dead_letters_total", reason="malformed") == 1
    assert value(shown, "label_delay_seconds_sum") == 6.0
