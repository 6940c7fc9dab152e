import pytest

from stream.join.ack_prefix import AckPrefix


def read(*offsets: int) -> AckPrefix:
    prefix = AckPrefix(offsets[0])
    for offset in offsets:
        prefix.read(offset)
    return prefix


def test_only_a_finished_prefix_counts():
    prefix = read(5, 6, 7)
    prefix.finish(6)
    assert prefix.position == 5
    prefix.finish(5)
    assert prefix.position == 7


def test_a_gap_in_the_offsets_is_no_open_record():
    prefix = read(5, 9)
    prefix.finish(5)
    prefix.finish(9)
    assert prefix.position == 10
    assert len(prefix) == 0


def test_offsets_must_rise():
    with pytest.raises(ValueError, match="offset 5 was read after 5"):
        read(5, 5)
