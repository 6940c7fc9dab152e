import gzip
import json
from itertools import islice
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stream.events import Click, Impression, Served, encode
from stream.play.recorded_log import EVENT_SCHEMA, BadLines, LogError, read_log, write_events

SHARED_DATA = Path(__file__).parents[4] / "shared" / "data"

ROWS = [
    {
        "ts": 100.0,
        "label": 1,
        "item": "Роза (2012) Драма",
        "context": "нравится: Мост",
        "item_id": "7",
        "user_id": "u1",
    },
    {"ts": 100.5, "label": 0, "item": "東京の家", "context": "", "item_id": "8", "user_id": "u2", "group_id": "g"},
    {"ts": 103.0, "label": 1, "item": "قصة حب", "context": "x", "item_id": "9", "user_id": ""},
]

OWN = [
    Impression(
        impression_id="i1",
        event_time_ms=1_000,
        item_id="7",
        item_text="Roter Hut",
        query="hüte",
        user_id="u1",
        history=("a", "b"),
        position=3,
        numeric={"price": 2.5, "rating": None},
        served=Served(model_version="abcdef01-000002", score=0.25),
    ),
    Impression(impression_id="i2", event_time_ms=1_500, item_id="8", item_text="帽子"),
    Click(click_id="c1", impression_id="i1", event_time_ms=2_000, kind="cart"),
    Click(click_id="c2", impression_id="i2", event_time_ms=2_500),
    Impression(impression_id="i3", event_time_ms=3_000, item_id="9", item_text="chapeau"),
    Click(click_id="c3", impression_id="i3", event_time_ms=3_100),
]


def plain_log(path: Path, lines: list[str]) -> Path:
    text = "\n".join(lines) + "\n"
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    return plain_log(tmp_path / "log.jsonl.gz", [json.dumps(row, ensure_ascii=False) for row in ROWS])


@pytest.fixture(params=["own.jsonl", "own.jsonl.gz", "own.parquet"])
def own(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    path = tmp_path / request.param
    assert write_events(path, OWN) == len(OWN)
    return path


@pytest.mark.parametrize("name", ["log.jsonl", "log.jsonl.gz"])
def test_a_byte_order_mark_before_the_first_line_is_no_part_of_it(name: str, tmp_path: Path):
    for lines in ([json.dumps(row) for row in ROWS], [encode(event).decode() for event in OWN]):
        marked = list(read_log(plain_log(tmp_path / name, ["\ufeff" + lines[0], *lines[1:]]), click_delay_seconds=1.0))
        assert marked == list(read_log(plain_log(tmp_path / name, lines), click_delay_seconds=1.0))


def test_a_plain_row_is_an_impression_in_any_language(plain):
    impressions = [event for event in read_log(plain, click_delay_seconds=1) if isinstance(event, Impression)]
    assert impressions[0] == Impression(
        impression_id="row-1",
        event_time_ms=100_000,
        item_id="7",
        item_text="Роза (2012) Драма",
        query="нравится: Мост",
        user_id="u1",
    )
    assert [impression.item_text for impression in impressions[1:]] == ["東京の家", "قصة حب"]


def test_a_positive_row_is_clicked_once_after_the_delay(plain):
    clicks = [event for event in read_log(plain, click_delay_seconds=2) if isinstance(event, Click)]
    assert [(click.impression_id, click.event_time_ms) for click in clicks] == [("row-1", 102_000), ("row-3", 105_000)]


def test_events_come_in_time_order(plain):
    ids = [getattr(event, "click_id", event.impression_id) for event in read_log(plain, click_delay_seconds=2)]
    assert ids == ["row-1", "row-2", "row-1-click", "row-3", "row-3-click"]


def test_a_prefix_keeps_the_ids_of_two_replays_apart(plain):
    assert next(read_log(plain, click_delay_seconds=1, id_prefix="run7")).impression_id == "run7-1"


def test_skip_and_limit_count_rows_and_keep_line_numbers(plain):
    events = list(read_log(plain, click_delay_seconds=1, skip=1, limit=1))
    assert [event.impression_id for event in events] == ["row-2"]


def test_our_own_events_are_read_as_they_were_written(own):
    assert list(read_log(own, click_delay_seconds=1)) == OWN


def test_skipped_impressions_take_their_clicks_along(own):
    events = list(read_log(own, click_delay_seconds=1, skip=1, limit=1))
    assert events == [OWN[1], OWN[3]]


@pytest.mark.parametrize(
    "bad",
    [
        "{not json",
        '{"ts": 101, "label": 2, "item": "x"}',
        '{"ts": 101, "label": 1}',
        '{"ts": "noon", "label": 1, "item": "x"}',
        '{"ts": 5, "label": 1, "item": "earlier than the row before it"}',
    ],
)
def test_an_unusable_row_is_an_error_that_names_the_line(tmp_path, bad):
    path = plain_log(tmp_path / "log.jsonl", [json.dumps(ROWS[0]), bad])
    with pytest.raises(LogError, match="line 2"):
        list(read_log(path, click_delay_seconds=1))


def test_unusable_rows_are_counted_where_that_was_asked_for(tmp_path):
    path = plain_log(tmp_path / "log.jsonl", ["junk", json.dumps(ROWS[0]), "{}", json.dumps(ROWS[2])])
    bad_lines = BadLines()
    events = list(read_log(path, click_delay_seconds=1, bad_lines=bad_lines))
    assert [event.impression_id for event in events if isinstance(event, Impression)] == ["row-2", "row-4"]
    assert bad_lines.count == 2
    assert "line 1" in bad_lines.messages[0]


def test_an_unusable_event_of_ours_is_an_error_that_names_the_line(tmp_path):
    path = tmp_path / "own.jsonl"
    path.write_bytes(encode(OWN[0]) + b"\n" + encode(msgspec.structs.replace(OWN[1], schema_version=99)) + b"\n")
    with pytest.raises(LogError, match=r"line 2.*schema_version"):
        list(read_log(path, click_delay_seconds=1))


def test_a_parquet_row_obeys_the_limits_of_an_event(tmp_path):
    path = tmp_path / "own.parquet"
    row = {"type": "impression", "impression_id": "", "event_time_ms": 5, "schema_version": 1}
    pq.write_table(pa.Table.from_pylist([row], schema=EVENT_SCHEMA), path)
    with pytest.raises(LogError, match="line 1"):
        list(read_log(path, click_delay_seconds=1))


def test_a_parquet_file_of_something_else_is_refused(tmp_path):
    pq.write_table(pa.table({"a": [1]}), tmp_path / "x.parquet")
    with pytest.raises(LogError, match="lacks the columns"):
        list(read_log(tmp_path / "x.parquet", click_delay_seconds=1))


def test_a_file_of_no_known_format_is_refused(tmp_path):
    path = plain_log(tmp_path / "log.jsonl", ['{"a": 1}'])
    with pytest.raises(LogError, match="known format"):
        read_log(path, click_delay_seconds=1)


def test_a_missing_file_is_refused_before_anything_is_read(tmp_path):
    with pytest.raises(LogError, match="not a file"):
        read_log(tmp_path / "nothing.jsonl", click_delay_seconds=1)


def test_a_cut_off_archive_is_an_error(tmp_path):
    path = tmp_path / "log.jsonl.gz"
    whole = gzip.compress(
        "\n".join(json.dumps(ROWS[0] | {"ts": 100.0 + n, "item": str(n)}) for n in range(9999)).encode()
    )
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(LogError, match="complete"):
        list(read_log(path, click_delay_seconds=1))


def test_a_suffix_names_the_format_that_is_written(tmp_path):
    with pytest.raises(LogError, match="suffix"):
        write_events(tmp_path / "events.csv", OWN)


@pytest.mark.parametrize("name", ["movietweetings100k_ge8.jsonl.gz", "upworthy_36_per_arm.jsonl.gz"])
def test_real_logs_are_read(name):
    path = SHARED_DATA / name
    if not path.is_file():
        pytest.skip(f"{path} is not here")
    events = list(islice(read_log(path, click_delay_seconds=1), 5_000))
    times = [event.event_time_ms for event in events]
    assert times == sorted(times)
    assert {type(event) for event in events} == {Impression, Click}


@pytest.mark.parametrize("ts", ["1767319446000", "1767319446000000", "1e308", "1e10"])
def test_a_time_that_is_not_in_seconds_names_the_line_and_the_unit(tmp_path, ts):
    log = plain_log(tmp_path / "log.jsonl", [f'{{"ts": {ts}, "label": 0, "item": "hat"}}'])

    with pytest.raises(LogError, match=r"1.*the unit is seconds"):
        list(read_log(log, click_delay_seconds=1))


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_an_event_whose_time_is_in_seconds_names_file_line_field_value_and_remedy(tmp_path, suffix):
    path = tmp_path / f"events.{suffix}"
    write_events(path, [OWN[0], msgspec.structs.replace(OWN[1], event_time_ms=1_767_319_446)])
    what = rf"{suffix} line 2: event_time_ms 1767319446 is 21 January 1970; .*milliseconds.*times 1000"
    with pytest.raises(LogError, match=what):
        list(read_log(path, click_delay_seconds=1))


@pytest.mark.parametrize("ts", ["-1", "0", "NaN", "Infinity", "1e999"])
def test_an_impossible_time_names_the_line_and_the_field(tmp_path, ts):
    log = tmp_path / "log.jsonl"
    log.write_text('{"ts": 100, "label": 0, "item": "hat"}\n' + f'{{"ts": {ts}, "label": 0, "item": "hat"}}\n')
    with pytest.raises(LogError, match=r"log\.jsonl line 2: .*(ts|malformed|invalid)"):
        list(read_log(log, click_delay_seconds=1))
