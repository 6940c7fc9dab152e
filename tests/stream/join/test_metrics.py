from prometheus_client import CollectorRegistry

from stream.dead_letters import DEAD_LETTER_REASONS
from stream.join.metrics import CLICK_OUTCOMES, JoinMetrics


def test_every_label_value_is_there_from_the_start():
    registry = CollectorRegistry()
    JoinMetrics(registry)
    for outcome in CLICK_OUTCOMES:
        assert registry.get_sample_value("millstream_stream_clicks_total", {"outcome": outcome}) == 0
    for reason in DEAD_LETTER_REASONS:
        assert registry.get_sample_value("millstream_stream_dead_letters_total", {"reason": reason}) == 0


def test_a_click_that_a_run_before_may_have_settled_is_not_counted_as_orphaned():
    registry = CollectorRegistry()
    metrics = JoinMetrics(registry)
    metrics.count_lost_click("unmatched_click")
    assert registry.get_sample_value("millstream_stream_clicks_total", {"outcome": "orphaned"}) == 0
    assert registry.get_sample_value("millstream_stream_clicks_total", {"outcome": "unmatched"}) == 1
