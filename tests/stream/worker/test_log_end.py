import pytest

from stream.worker.log_end import HandedOut, LogEnd


def log_of(offset: int = 10, position: int = 10, stable: int = 10, handed_out: HandedOut | None = None) -> LogEnd:
    return LogEnd(offset=offset, stable=stable, position=position, handed_out=handed_out, seen_ms=0)


@pytest.mark.parametrize(
    ("end", "next_offset", "unread", "is_read"),
    [
        (log_of(position=4, handed_out=HandedOut(0, 4)), 4, 6, False),
        (log_of(handed_out=HandedOut(0, 9)), 9, 0, True),  # the last offset is a commit marker
        (log_of(handed_out=HandedOut(0, 9)), 5, 4, False),  # handed out, and still on its way here
        (log_of(handed_out=HandedOut(3, 9)), None, 6, False),
        (log_of(), None, 0, True),  # nothing but markers
        (log_of(stable=4, position=4, handed_out=HandedOut(0, 4)), 4, 0, False),  # a transaction is open
    ],
)
def test_a_log_is_read_when_the_client_is_at_its_end_and_all_it_handed_out_has_arrived(
    end, next_offset, unread, is_read
):
    assert (end.unread(next_offset), end.is_read(next_offset)) == (unread, is_read)
