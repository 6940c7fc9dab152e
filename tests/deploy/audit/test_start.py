import msgspec
import pytest

from deploy.audit.start import ALWAYS, count_start, letters_since
from stream.cluster.log import Extent, LogRecord
from stream.events import encode
from stream.example_batch import encode_examples
from tests.deploy.recorded_run import example, labeled_impression

WHOLE = Extent(first={0: 0}, end={0: 100})


class KeptLog:
    """What retention has left of the topics, in memory."""

    def __init__(self, **values: list[bytes]) -> None:
        self._values = values

    def records(self, kind, extent):
        for number, value in enumerate(self._values.get(kind.replace("-", "_"), [])):
            yield LogRecord(0, extent.first[0] + number, value, {})

    def offsets_since(self, _kind, _extent, since_ms):
        return {0: since_ms}


def label(offset, *, revision=0):
    return msgspec.structs.replace(labeled_impression("i0", "c0", revision=revision), source_offset=offset)


def scored(*offsets):
    rows = [msgspec.structs.replace(example("i0"), labeled=label(offset)) for offset in offsets]
    (batch,) = encode_examples(rows)
    return batch


def start(log=None, *, joined=50, since_ms=ALWAYS, **cut):
    extents = dict.fromkeys(("events", "labeled-impressions", "weighted-examples"), WHOLE)
    extents |= {kind.replace("_", "-"): Extent(first={0: first}, end={0: 100}) for kind, first in cut.items()}
    return count_start(log or KeptLog(), extents, {0: joined}, since_ms)[0]


def test_where_nothing_was_deleted_everything_is_counted():
    assert start() == 0


def test_the_count_begins_at_the_first_event_that_is_left():
    assert start(events=30) == 30


def test_the_count_begins_at_the_oldest_impression_whose_label_is_left():
    assert start(KeptLog(labeled_impressions=[encode(label(40)), encode(label(41))]), labeled_impressions=7) == 40


def test_a_revised_label_and_an_unusable_record_tell_nothing():
    kept = [b"{", encode(label(3, revision=1)), encode(label(40))]
    assert start(KeptLog(labeled_impressions=kept), labeled_impressions=7) == 40


def test_the_count_begins_at_the_oldest_impression_whose_example_is_left():
    assert start(KeptLog(weighted_examples=[scored(45, 44)]), weighted_examples=2, events=10) == 44


@pytest.mark.parametrize("kind", ["labeled_impressions", "weighted_examples"])
def test_where_none_is_left_the_count_begins_at_what_the_join_has_not_settled(kind):
    assert start(**{kind: 9}) == 50


def test_events_older_than_the_oldest_dead_letter_are_not_counted():
    assert start(since_ms=60) == 60


def test_where_letters_are_deleted_the_count_begins_with_the_oldest_that_is_left():
    extent = Extent(first={0: 5, 1: 0, 2: 3}, end={0: 9, 1: 4, 2: 3})
    assert letters_since(extent, {0: 700, 1: 100}, 600) == 700
    assert letters_since(extent, {0: 500, 1: 100}, 600) == 600
    assert letters_since(Extent(first={0: 0}, end={0: 9}), {0: 700}, 600) == ALWAYS
