from contextlib import closing
from pathlib import Path

import pytest

from deploy.audit.produced import compare_with_producer
from stream.events import encode
from stream.play.ledger import LedgerRow, LedgerWriter
from tests.deploy.recorded_run import START_MS, complete_run, labeled_impression, write_producer_ledger


def test_a_ledger_that_agrees_has_no_problem(tmp_path: Path):
    write_producer_ledger(tmp_path / "ledger.parquet", {"i0": 1, "i1": 1, "i2": 0, "i3": 0, "i4": 0, "i5": 1})

    assert compare_with_producer(tmp_path / "ledger.parquet", complete_run().conservation()) == (6, [])


def test_an_event_that_is_not_in_the_topic_is_named(tmp_path: Path):
    write_producer_ledger(tmp_path / "ledger.parquet", {"i7": 0})

    _, [problem] = compare_with_producer(tmp_path / "ledger.parquet", complete_run().conservation())

    assert "not in events: i7" in problem


def test_a_label_that_differs_is_named(tmp_path: Path):
    write_producer_ledger(tmp_path / "ledger.parquet", {"i0": 0})

    _, [problem] = compare_with_producer(tmp_path / "ledger.parquet", complete_run().conservation())

    assert "differ from the producer's ledger: i0" in problem


def test_a_label_of_a_window_that_was_cut_short_is_not_compared(tmp_path: Path):
    run = complete_run()
    cut = labeled_impression("i3")
    run.records["labeled-impressions", 1] = [
        entry if b'"i3"' not in entry[0] else (encode(type(cut)(**_fields(cut) | {"window_cut": True})), {})
        for entry in run.records["labeled-impressions", 1]
    ]
    write_producer_ledger(tmp_path / "ledger.parquet", {"i3": 1})

    assert compare_with_producer(tmp_path / "ledger.parquet", run.conservation()) == (1, [])


def test_a_record_sent_as_junk_must_be_unusable(tmp_path: Path):
    with closing(LedgerWriter(tmp_path / "ledger.parquet")) as writer:
        for offset in (3, 0):  # junk stands at events/1/3, an impression at events/1/0
            row = LedgerRow(
                kind="malformed",
                partition=1,
                offset=offset,
                event_time_ms=START_MS,
                impression_id=None,
                click_id=None,
                label=None,
                click_probability=None,
            )
            writer.append(row)

    _, [problem] = compare_with_producer(tmp_path / "ledger.parquet", complete_run().conservation())

    assert "1 record sent as unusable" in problem
    assert "events/1/0" in problem


def test_a_ledger_that_cannot_be_read_is_refused(tmp_path: Path):
    (tmp_path / "ledger.parquet").write_bytes(b"half")

    with pytest.raises(ValueError, match="not a complete producer's ledger"):
        compare_with_producer(tmp_path / "ledger.parquet", complete_run().conservation())


def _fields(struct: object) -> dict[str, object]:
    return {name: getattr(struct, name) for name in struct.__struct_fields__}  # type: ignore[attr-defined]
