from pathlib import Path

import pytest

from deploy.demo.options import MIN_STREAM_SECONDS, OVERHEAD_SECONDS, DemoOptions


def options(*, minutes: float = 4.0, rate: float = 100.0, log: Path | None = None) -> DemoOptions:
    return DemoOptions(
        minutes=minutes, strategy="full", budget=1.0, trainer=True, log=log, rate=rate, report=Path("report")
    )


def test_the_stream_takes_the_minutes_less_the_overhead():
    assert options(minutes=4).stream_seconds == 240 - OVERHEAD_SECONDS


def test_a_very_short_demo_still_streams():
    assert options(minutes=1).stream_seconds == MIN_STREAM_SECONDS


def test_the_rate_decides_how_many_impressions_flow():
    assert options(rate=100).num_impressions == pytest.approx(100 * options().stream_seconds)


def test_all_tastes_turn_half_way():
    assert options().turn_seconds == pytest.approx(options().stream_seconds / 2, abs=0.01)


def test_a_recorded_log_has_no_turn():
    assert options(log=Path("clicks.jsonl")).turn_seconds is None
