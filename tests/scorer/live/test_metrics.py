import pytest
from prometheus_client import CollectorRegistry

from scorer.live.metrics import ModelMetrics


@pytest.fixture
def shown() -> CollectorRegistry:
    return CollectorRegistry()


def test_every_end_of_a_release_is_shown_from_the_start(shown: CollectorRegistry) -> None:
    ModelMetrics(shown, "service")
    assert shown.get_sample_value("millstream_service_swaps_total", {"result": "switched"}) == 0


def test_the_version_is_shown_by_its_number_and_not_as_a_label(shown: CollectorRegistry) -> None:
    ModelMetrics(shown, "service").show_version("0123abcd-000042")
    assert shown.get_sample_value("millstream_service_model_number") == 42
