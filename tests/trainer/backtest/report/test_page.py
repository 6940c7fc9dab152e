import re
from html.parser import HTMLParser

import pytest

from tests.trainer.backtest.tiny import made_run, tiny_arm, tiny_stream
from trainer.backtest.report.page import render_report
from trainer.backtest.report.summary import summarise
from trainer.backtest.runs.streams import simulated_stream


def rendered(stream, arms, runs):
    return render_report(summarise(stream, arms, 1, runs), arms, runs)


@pytest.fixture
def page(bert, tmp_path):
    arms = [tiny_arm(bert, "base"), tiny_arm(bert, "new", strategy="gradnorm_is", gate=None)]
    return rendered(tiny_stream(tmp_path), arms, [made_run("base"), made_run("new", skill=1.5)])


class Structure(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.cells: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag in {"td", "th"}:
            self.cells.append("")

    def handle_data(self, data):
        if self.cells:
            self.cells[-1] += data


def test_the_page_has_a_row_for_each_arm_with_its_interval(page):
    cells = [cell.strip() for cell in Structure(page).cells]
    assert {"base", "new", "gradnorm_is, no gate"} <= set(cells)
    assert any(re.fullmatch(r"\+0\.\d{4} \[\+0\.\d{4}, \+0\.\d{4}\]", cell) for cell in cells)


def test_the_page_says_of_each_arm_what_retraining_is_worth(page):
    assert len(re.findall(r"<li>(base|new): retraining is worth \+\d+\.\d points of AUC", page)) == 2


def test_the_page_needs_no_network_and_no_script(page):
    tags = Structure(page).tags
    assert not {"script", "link", "img", "iframe"} & set(tags)
    assert not re.search(r"url\((?!#)", page)
    assert tags.count("svg") == 9


def test_the_page_shows_in_what_the_arms_differ(page):
    cells = [cell.strip() for cell in Structure(page).cells]
    assert {"scorer.strategy", "gate"} <= set(cells)
    assert "trainer.update_rows" not in cells


def test_the_page_defines_its_numbers(page):
    assert "<dt>auc_pooled</dt>" in page


@pytest.mark.parametrize("drift", ["none", "recurring"])
def test_turns_of_a_simulated_shop_are_marked(bert, drift):
    stream = simulated_stream(drift, 9_192, warm_start_rows=1_000)
    page = rendered(stream, [tiny_arm(bert, "base")], [made_run("base", limit=True)])
    assert f"drift: {drift}" in page
    assert ("tastes turn" in page) == (drift != "none")


def test_a_name_that_looks_like_html_is_text(bert, tmp_path):
    stream = tiny_stream(tmp_path)
    summary = summarise(stream, [tiny_arm(bert)], 1, [made_run()])
    summary["stream"]["log"] = "<script>.jsonl"
    page = render_report(summary, [tiny_arm(bert)], [made_run()])
    assert "&lt;script&gt;.jsonl" in page
