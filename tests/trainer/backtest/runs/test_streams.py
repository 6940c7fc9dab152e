import itertools

import pytest

from stream.play.recorded_log import LogError
from tests.trainer.backtest.tiny import write_log
from trainer.backtest.runs.streams import recorded_stream, simulated_stream


def test_a_log_gives_its_rows_in_order_with_the_seed_before_every_id(tmp_path):
    stream = recorded_stream(write_log(tmp_path / "log.jsonl", 50))
    rows = list(stream.rows(3))
    assert [row.labeled.impression.impression_id for row in rows[:2]] == ["3-row-1", "3-row-2"]
    assert len(rows) == stream.num_rows == 50
    assert {row.click_probability for row in rows} == {None}
    assert 0 < sum(row.labeled.label for row in rows) < 50


def test_seeds_of_a_log_differ_in_ids_alone(tmp_path):
    stream = recorded_stream(write_log(tmp_path / "log.jsonl", 50))
    labels = [[row.labeled.label for row in stream.rows(seed)] for seed in (0, 1)]
    assert labels[0] == labels[1]


def test_a_tenth_of_a_short_log_is_its_warm_start(tmp_path):
    assert recorded_stream(write_log(tmp_path / "log.jsonl", 100)).warm_start_rows == 10
    assert simulated_stream("none", 100_000).warm_start_rows == 4_000


def test_a_limit_counts_impressions(tmp_path):
    stream = recorded_stream(write_log(tmp_path / "log.jsonl", 100), limit=60)
    assert stream.num_rows == len(list(stream.rows(0))) == 60


def test_facts_tell_logs_of_other_content_apart(tmp_path):
    one = recorded_stream(write_log(tmp_path / "log.jsonl", 100), limit=60).facts()
    other = recorded_stream(write_log(tmp_path / "log.jsonl", 101), limit=60).facts()
    assert {name for name in one if one[name] != other[name]} == {"sha256"}


def test_unusable_lines_are_left_out_and_counted_when_asked(tmp_path):
    path = write_log(tmp_path / "log.jsonl", 40)
    path.write_text(path.read_text() + "{broken\n")
    with pytest.raises(LogError, match="line 41"):
        recorded_stream(path)
    stream = recorded_stream(path, skip_bad_lines=True)
    assert (stream.num_rows, stream.num_bad_lines, len(list(stream.rows(0)))) == (40, 1, 40)


def test_a_click_delay_beyond_the_window_is_refused(tmp_path):
    with pytest.raises(ValueError, match="--click-delay 4000 is longer than the attribution window"):
        recorded_stream(write_log(tmp_path / "log.jsonl", 40), click_delay_seconds=4000)


def test_a_warm_start_of_everything_is_refused(tmp_path):
    with pytest.raises(ValueError, match="--warm-start 40 leaves nothing of the 40 rows"):
        recorded_stream(write_log(tmp_path / "log.jsonl", 40), warm_start_rows=40)


def test_a_log_of_one_impression_is_refused(tmp_path):
    with pytest.raises(LogError, match="holds 1 impressions"):
        recorded_stream(write_log(tmp_path / "log.jsonl", 1))


def test_a_shop_knows_the_true_probability_of_every_row():
    rows = list(simulated_stream("none", 3_000, ctr=0.2).rows(0))
    assert len(rows) == 3_000
    assert all(0 < row.click_probability < 1 for row in rows)
    expected = sum(row.click_probability for row in rows) / 3_000
    observed = sum(row.labeled.label for row in rows) / 3_000
    assert observed == pytest.approx(expected, abs=0.03) == pytest.approx(0.2, abs=0.06)


def test_a_seed_of_a_shop_gives_the_same_rows_again_and_another_seed_others():
    def texts(seed: int) -> list[str]:
        rows = itertools.islice(simulated_stream("sudden", 500).rows(seed), 100)
        return [row.labeled.impression.item_text for row in rows]

    assert texts(0) == texts(0) != texts(1)


@pytest.mark.parametrize(
    ("drift", "rows"),
    [("none", []), ("sudden", [3_000]), ("gradual", [2_500, 3_500]), ("recurring", [2_000, 3_000, 4_000])],
)
def test_tastes_turn_around_the_middle_of_what_follows_the_warm_start(drift, rows):
    assert simulated_stream(drift, 5_000, warm_start_rows=1_000).turn_rows == rows


def test_facts_of_a_shop_name_its_drift_and_click_rate():
    facts = simulated_stream("gradual", 5_000, ctr=0.05).facts()
    assert (facts["simulated"], facts["shop"]["ctr"], facts["rows"]) == ("gradual", 0.05, 5_000)


def test_early_negatives_come_with_what_becomes_of_them(tmp_path):
    stream = recorded_stream(write_log(tmp_path / "log.jsonl", 50)).with_early_negatives()
    rows = list(stream.rows(0))
    impressions = [row for row in rows if row.labeled.revision == 0]
    assert stream.num_rows == len(impressions) == 50
    assert {row.labeled.label for row in impressions} == {0}
    clicked = [row.labeled.impression.impression_id for row in impressions if row.clicked]
    assert [row.labeled.impression.impression_id for row in rows if row.labeled.revision == 1] == clicked
    assert [row.final.label for row in impressions] == [row.clicked for row in impressions]


@pytest.mark.parametrize("kind", ["log", "shop"])
def test_final_labels_are_those_of_the_usual_mode(tmp_path, kind):
    log = write_log(tmp_path / "log.jsonl", 200)
    usual = recorded_stream(log) if kind == "log" else simulated_stream("none", 1_000)
    early = usual.with_early_negatives()
    assert early.facts() != usual.facts()
    assert [row.clicked for row in early.rows(0) if row.labeled.revision == 0] == [row.clicked for row in usual.rows(0)]
