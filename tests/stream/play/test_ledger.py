from contextlib import closing

import pytest

from stream.play.ledger import LEDGER_SCHEMA, LedgerRow, LedgerWriter, read_producer_ledger


def row(offset: int) -> LedgerRow:
    return LedgerRow(
        kind="impression",
        partition=1,
        offset=offset,
        event_time_ms=1_700_000_000_000,
        impression_id=f"i{offset}",
        click_id=None,
        label=0,
        click_probability=None,
    )


def test_what_is_written_is_read_back_in_order(tmp_path):
    with closing(LedgerWriter(tmp_path / "deep" / "ledger.parquet")) as ledger:
        for offset in range(12_000):  # more than one row group
            ledger.append(row(offset))
    table = read_producer_ledger(tmp_path / "deep" / "ledger.parquet")
    assert table.schema.equals(LEDGER_SCHEMA)
    assert table["offset"].to_pylist() == list(range(12_000))


def test_an_empty_ledger_is_a_ledger(tmp_path):
    with closing(LedgerWriter(tmp_path / "ledger.parquet")):
        pass
    assert read_producer_ledger(tmp_path / "ledger.parquet").num_rows == 0


def test_a_ledger_without_its_end_is_refused(tmp_path):
    (tmp_path / "ledger.parquet").write_bytes(b"PAR1 and then the producer was killed")
    with pytest.raises(ValueError, match="killed"):
        read_producer_ledger(tmp_path / "ledger.parquet")
