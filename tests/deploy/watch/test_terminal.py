import io

from rich.console import Console

from deploy.watch.reading import Reading
from deploy.watch.scrape import Scrape
from deploy.watch.terminal import live_view


def reading(impressions: float) -> Reading:
    return Reading.from_scrape(Scrape({("millstream_shop_impressions_total", ()): impressions}), 1.0, None)


def shown(*readings: Reading, terminal: bool) -> str:
    console = Console(file=io.StringIO(), force_terminal=terminal, width=200)
    with live_view(console, "Millstream demo") as show:
        for each in readings:
            show(each)
    return console.file.getvalue()


def test_without_a_terminal_a_reading_is_one_plain_line():
    output = shown(reading(1234), terminal=False)
    assert output.count("\n") == 1
    assert "\x1b" not in output
    assert "impressions 1,234" in output


def test_without_a_terminal_readings_soon_after_one_another_are_one_line():
    assert shown(reading(1), reading(2), reading(3), terminal=False).count("\n") == 1


def test_a_terminal_shows_a_table():
    output = shown(reading(1234), terminal=True)
    assert "Millstream demo" in output
    assert "1,234" in output
    assert "Ctrl-C drains and ends" in output
