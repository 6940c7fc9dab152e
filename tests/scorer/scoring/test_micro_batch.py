from pathlib import Path

import msgspec
import numpy as np
import pytest

from scorer.importance.strategies import build_strategy
from scorer.importance.strategy import importance
from scorer.live.model_slot import ModelSlot
from scorer.live.roles import Roles
from scorer.scoring.micro_batch import MicroBatchScorer, RawRow, UnscorableError
from scorer.scoring.scoring import Scoring, StrategyError
from scorer.settings import ScorerSettings
from stream.events import Impression, LabeledImpression, encode
from stream.example_batch import decode_examples
from tests.doubles import ManualClock, tiny_bundle, tiny_labeled


class PickyScoring(Scoring):
    """Scoring whose model cannot bear one text."""

    def score(self, labeled, clock_ms):
        if any("poison" in row.impression.item_text for row in labeled):
            message = "the model cannot bear this"
            raise RuntimeError(message)
        return super().score(labeled, clock_ms)


@pytest.fixture
def slot(tmp_path: Path) -> ModelSlot:
    return ModelSlot(tiny_bundle(tmp_path), ScorerSettings())


@pytest.fixture
def scorer(slot: ModelSlot) -> MicroBatchScorer:
    return MicroBatchScorer(
        "labeled", PickyScoring(Roles(slot.engine), build_strategy("uniform", 0.5)), ManualClock(42)
    )


def raw(row: LabeledImpression, offset: int, partition: int = 0) -> RawRow:
    return RawRow(partition, offset, row.impression.impression_id.encode(), encode(row))


def test_each_partition_gets_its_own_record_in_the_order_of_its_rows(scorer: MicroBatchScorer) -> None:
    labeled = [tiny_labeled(index) for index in range(6)]
    batch = scorer.process([raw(row, index, partition=index % 2) for index, row in enumerate(labeled)])
    written = {delivery.partition: decode_examples(delivery.record.value) for delivery in batch.deliveries}
    assert [example.labeled for example in written[0]] == labeled[0::2]
    assert [example.labeled for example in written[1]] == labeled[1::2]
    assert {example.scored_ms for example in batch.examples} == {42}


def test_the_partition_read_from_decides_and_not_the_one_in_the_row(scorer: MicroBatchScorer) -> None:
    batch = scorer.process([raw(tiny_labeled(1), 0, partition=0)])
    assert tiny_labeled(1).source_partition == 1
    assert batch.deliveries[0].partition == 0


@pytest.mark.parametrize(
    ("value", "reason"), [(b"{", "malformed"), (b"", "empty"), (None, "empty"), (b'{"schema_version": 9}', "malformed")]
)
def test_bytes_that_are_no_row_become_a_dead_letter(scorer: MicroBatchScorer, value: bytes | None, reason: str) -> None:
    batch = scorer.process([RawRow(1, 7, b"key", value), raw(tiny_labeled(2), 8)])
    letter = next(delivery for delivery in batch.deliveries if delivery.topic == "dead-letters")
    assert batch.dead_letters == [reason]
    assert len(batch.examples) == 1
    assert (letter.record.key, letter.record.value) == (b"key", value)
    assert letter.record.headers["millstream.topic"] == b"labeled"
    assert letter.record.headers["millstream.partition"] == b"1"
    assert letter.record.headers["millstream.offset"] == b"7"
    assert letter.record.headers["millstream.stage"] == b"scorer"


def test_a_row_the_model_cannot_bear_stops_no_other(scorer: MicroBatchScorer) -> None:
    poison = tiny_labeled(1, item_text="poison")
    batch = scorer.process([raw(tiny_labeled(0), 0), raw(poison, 1), raw(tiny_labeled(2), 2)])
    assert [example.labeled.impression.impression_id for example in batch.examples] == ["impression-0", "impression-2"]
    assert batch.dead_letters == ["unscorable"]


def test_no_row_is_blamed_for_a_model_that_scores_nothing(slot: ModelSlot, scorer: MicroBatchScorer) -> None:
    slot.engine.score_rows = lambda _rows: 1 / 0
    with pytest.raises(ZeroDivisionError):
        scorer.process([raw(tiny_labeled(0), 0)])


def test_no_row_is_blamed_for_scores_that_are_not_finite(slot: ModelSlot, scorer: MicroBatchScorer) -> None:
    slot.engine.bundle.model.head.bias.data.fill_(float("nan"))
    with pytest.raises(FloatingPointError):
        scorer.process([raw(tiny_labeled(0), 0)])


class BrokenStrategy:
    """A strategy that has nothing to say."""

    name = "broken"

    def __init__(self, weigh) -> None:
        self.weigh = weigh


@pytest.mark.parametrize(
    "weigh",
    [lambda _rows: 1 / 0, lambda _rows: None, lambda rows: importance("broken", np.ones(len(rows) + 1))],
    ids=["raises", "returns nothing", "returns too much"],
)
@pytest.mark.parametrize("num_rows", [1, 64])
def test_no_row_is_blamed_for_a_strategy_that_fails(slot: ModelSlot, weigh, num_rows: int) -> None:
    scorer = MicroBatchScorer("labeled", Scoring(Roles(slot.engine), BrokenStrategy(weigh)), ManualClock(42))
    with pytest.raises(StrategyError, match="strategy broken"):
        scorer.process([raw(tiny_labeled(index), index) for index in range(num_rows)])


def poisoned(*offsets: int) -> list[RawRow]:
    return [raw(tiny_labeled(offset, item_text="poison"), offset) for offset in offsets]


def test_no_row_is_blamed_when_none_of_several_can_be_scored(scorer: MicroBatchScorer) -> None:
    with pytest.raises(UnscorableError, match="nothing is acknowledged") as caught:
        scorer.process([*poisoned(1, 2), RawRow(0, 3, b"key", b"{")])
    assert "cannot bear" in str(caught.value.__cause__)


def test_rows_of_a_newer_release_are_not_drained(scorer: MicroBatchScorer) -> None:
    newer = encode(msgspec.structs.replace(tiny_labeled(0), schema_version=99))
    assert scorer.process([RawRow(0, 1, b"key", newer), raw(tiny_labeled(2), 2)]).dead_letters == ["unknown_version"]
    with pytest.raises(UnscorableError, match="upgrade"):
        scorer.process([RawRow(0, offset, b"key", newer) for offset in (3, 4)])


def test_junk_alone_stops_nothing(scorer: MicroBatchScorer) -> None:
    for offset in range(3):
        junk = [RawRow(0, 2 * offset, b"key", b"{"), RawRow(0, 2 * offset + 1, b"key", b"")]
        assert scorer.process(junk).dead_letters == ["malformed", "empty"]


def test_a_row_alone_that_cannot_be_scored_stops_nothing_and_a_second_one_in_a_row_does(
    scorer: MicroBatchScorer,
) -> None:
    assert scorer.process(poisoned(1)).dead_letters == ["unscorable"]
    assert scorer.process([RawRow(0, 2, b"key", b"{")]).dead_letters == ["malformed"]
    with pytest.raises(UnscorableError, match="last 2 rows"):
        scorer.process(poisoned(3))


def test_a_row_that_was_scored_in_between_shows_that_the_model_works(scorer: MicroBatchScorer) -> None:
    for offset in range(0, 6, 2):
        assert scorer.process(poisoned(offset)).dead_letters == ["unscorable"]
        assert len(scorer.process([raw(tiny_labeled(offset + 1), offset + 1)]).examples) == 1


def test_a_row_that_has_no_room_in_the_columns_stops_no_other(scorer: MicroBatchScorer) -> None:
    huge = msgspec.structs.replace(tiny_labeled(1), revision=2**40)
    batch = scorer.process([raw(tiny_labeled(0), 0), raw(huge, 1), raw(tiny_labeled(2), 2)])
    assert batch.dead_letters == ["unscorable"]
    written = [example for delivery in batch.deliveries[:-1] for example in decode_examples(delivery.record.value)]
    assert written == batch.examples
    assert [example.labeled.impression.impression_id for example in written] == ["impression-0", "impression-2"]


def test_every_stage_is_timed(scorer: MicroBatchScorer) -> None:
    assert set(scorer.process([raw(tiny_labeled(0), 0)]).seconds) == {"decode", "forward", "encode"}


def test_a_long_text_is_cut_by_the_model_and_kept_in_the_example(scorer: MicroBatchScorer) -> None:
    long = tiny_labeled(0, item_text="red hat " * 2_000)
    batch = scorer.process([raw(long, 0)])
    impression: Impression = batch.examples[0].labeled.impression
    assert impression == long.impression
