import pytest
from prometheus_client import CollectorRegistry

from deploy.watch.reading import Reading
from deploy.watch.scrape import Scrape, scrape
from scorer.scoring.metrics import ScorerMetrics
from stream.join.metrics import JoinMetrics
from stream.play.metrics import ShopMetrics
from stream.process.exposition import serve_metrics
from stream.settings import MetricsSettings
from trainer.metrics import TrainerMetrics


def reading(impressions: float = 0.0, elapsed_seconds: float = 1.0, earlier: Reading | None = None) -> Reading:
    values = {("millstream_shop_impressions_total", ()): impressions}
    return Reading.from_scrape(Scrape(values), elapsed_seconds, earlier)


def test_a_reading_is_made_of_what_the_processes_export():
    registry = CollectorRegistry()
    shop, join, scorer, trainer = (
        ShopMetrics(registry),
        JoinMetrics(registry),
        ScorerMetrics(registry),
        TrainerMetrics(registry),
    )
    shop.delivered("impression")
    join.dead_letters.labels("malformed").inc(2)
    scorer.model.swaps.labels("switched").inc(3)
    trainer.gate.decisions.labels("promote").inc(4)
    trainer.gate.decisions.labels("hold").inc(5)

    port = serve_metrics("stream", MetricsSettings(port=0), registry)
    found = Reading.from_scrape(scrape({"all": port}), 1.0, None)

    assert (found.impressions, found.dead_letters, found.swaps, found.promoted, found.held) == (1, 2, 3, 4, 5)


def test_the_rate_is_over_the_time_since_the_reading_before():
    assert reading(300, 3.0, earlier=reading(100, 2.0)).impressions_per_second == pytest.approx(200)


def test_what_nobody_knows_yet_is_a_dash():
    assert dict(reading().items())["AUC live"] == "-"


def test_what_retraining_is_worth_is_in_points_of_auc():
    name = "millstream_evaluator_worth_auc"
    ends = {"": 0.031, "_low": 0.022, "_high": 0.04}
    scraped = Scrape({(f"{name}{end}_ratio", (("rows", "all"),)): value for end, value in ends.items()})
    items = dict(Reading.from_scrape(scraped, 1.0, None).items())
    assert items["retraining is worth"] == "+3.1 points [+2.2, +4.0]"
    assert dict(reading().items())["retraining is worth"] == "-"


def test_a_best_possible_auc_that_is_not_known_is_a_dash():
    scraped = Scrape({("millstream_shop_best_possible_auc_ratio", ()): float("nan")})
    assert dict(Reading.from_scrape(scraped, 1.0, None).items())["AUC best possible"] == "-"
