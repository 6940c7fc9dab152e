import math
from typing import get_args

from prometheus_client import CollectorRegistry

from stream.play.ledger import RecordKind
from stream.play.metrics import ShopMetrics


def test_every_kind_of_junk_is_there_from_the_start():
    registry = CollectorRegistry()
    ShopMetrics(registry)
    for kind in set(get_args(RecordKind)) - {"impression", "click"}:
        assert registry.get_sample_value("millstream_shop_junk_total", {"kind": kind}) == 0


def test_delivered_records_are_counted_by_what_they_are():
    registry = CollectorRegistry()
    metrics = ShopMetrics(registry)
    for kind in ("impression", "impression", "click", "late_click", "oversized"):
        metrics.delivered(kind)
    metrics.failed()
    assert registry.get_sample_value("millstream_shop_impressions_total") == 2
    assert registry.get_sample_value("millstream_shop_clicks_total") == 2
    assert registry.get_sample_value("millstream_shop_junk_total", {"kind": "late_click"}) == 1
    assert registry.get_sample_value("millstream_shop_junk_total", {"kind": "oversized"}) == 1
    assert registry.get_sample_value("millstream_shop_failed_total") == 1


def test_the_windowed_values_follow_the_truth():
    registry = CollectorRegistry()
    metrics = ShopMetrics(registry)
    for label, probability in [(1, 0.9), (0, 0.1), (0, 0.2), (1, 0.15)]:
        metrics.labeled(label, probability)
    assert registry.get_sample_value("millstream_shop_ctr_ratio") == 0.5
    assert registry.get_sample_value("millstream_shop_best_possible_auc_ratio") == 0.75


def test_without_the_truth_nothing_is_claimed():
    registry = CollectorRegistry()
    metrics = ShopMetrics(registry)
    metrics.labeled(1, None)
    metrics.labeled(0, None)
    assert registry.get_sample_value("millstream_shop_ctr_ratio") == 0.5
    assert math.isnan(registry.get_sample_value("millstream_shop_best_possible_auc_ratio"))
