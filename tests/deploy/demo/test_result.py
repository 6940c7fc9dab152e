from contextlib import closing
from pathlib import Path

import msgspec
import numpy as np
import pytest
from kafka import KafkaProducer

from deploy.demo.result import DemoResult, read_result
from stream.cluster.releases import announce
from stream.events import ModelRelease, RoleScore, WeightedExample
from stream.example_batch import encode_examples
from stream.play.ledger import LedgerRow, LedgerWriter
from stream.settings import KafkaSettings
from stream.topics import topic_name
from tests.doubles import tiny_labeled

pytestmark = pytest.mark.kafka

FIRST, SECOND = "00000000-000001", "00000000-000002"


def example(index: int, version: str = FIRST, *, frozen: float | None = None, scored_ms: int = 0) -> WeightedExample:
    labeled = tiny_labeled(index)
    return WeightedExample(
        labeled=labeled,
        live=RoleScore(version=version, z=float(index)),
        frozen=None if frozen is None else RoleScore(version=FIRST, z=frozen),
        hidden_norm=1.0,
        scored_ms=scored_ms or labeled.label_due_ms + 1_000,
        strategy="full",
        inclusion_probability=1.0,
        importance_weight=1.0,
    )


def release(version: str, reason: str = "promoted", alias: str = "champion", covered: int = 0) -> ModelRelease:
    return msgspec.convert(
        {
            "alias": alias,
            "version": version,
            "digest": "",
            "location": "",
            "reason": reason,
            "created_ms": 1,
            "covered_offsets": {"0": covered},
        },
        ModelRelease,
    )


def write_ledger(path: Path, probabilities: dict[str, float | None]) -> None:
    with closing(LedgerWriter(path)) as writer:
        for kind in ("impression", "repeated_impression"):
            for offset, (name, probability) in enumerate(probabilities.items()):
                row = LedgerRow(
                    kind=kind,
                    partition=0,
                    offset=offset,
                    event_time_ms=0,
                    impression_id=name,
                    click_id=None,
                    label=0,
                    click_probability=probability if kind == "impression" else None,
                )
                writer.append(row)


def result(
    kafka: KafkaSettings,
    directory: Path,
    records: list[list[WeightedExample]],
    releases: tuple[ModelRelease, ...] = (),
    probabilities: dict[str, float | None] | None = None,
) -> DemoResult:
    """Write the topics and the ledger, and read them back. Every record goes to partition 0."""
    announce(kafka, releases)
    producer = KafkaProducer(**kafka.client_options())
    for rows in records:
        for value in encode_examples(rows):
            producer.send(topic_name("weighted-examples", kafka), value=value, partition=0).get(timeout=30)
    producer.close()
    write_ledger(directory / "ledger.parquet", probabilities or {})
    return read_result(kafka, directory / "ledger.parquet")


def test_rows_are_in_event_time_order_whatever_the_order_of_records(kafka: KafkaSettings, tmp_path: Path):
    rows = result(kafka, tmp_path, [[example(2_000)], [example(0), example(1_000)]]).rows
    assert rows.live.tolist() == [0.0, 1_000.0, 2_000.0]
    assert rows.seconds.tolist() == [0.0, 1.0, 2.0]


def test_the_first_copy_of_an_impression_counts(kafka: KafkaSettings, tmp_path: Path):
    again = msgspec.structs.replace(
        example(3), live=RoleScore(version=FIRST, z=99.0), scored_ms=example(3).scored_ms + 1
    )
    assert result(kafka, tmp_path, [[example(3)], [again]]).rows.live.tolist() == [3.0]


def test_an_early_negative_counts_once_by_its_revised_label_and_its_own_score(kafka: KafkaSettings, tmp_path: Path):
    negative = example(3)
    labeled = msgspec.structs.replace(negative.labeled, label=1, revision=1)
    positive = msgspec.structs.replace(negative, labeled=labeled, live=RoleScore(version=FIRST, z=99.0))
    rows = result(kafka, tmp_path, [[negative, example(7)], [positive]]).rows
    assert rows.live.tolist() == [3.0, 7.0]
    assert rows.label.tolist() == [1, 0]


def test_a_row_that_frozen_did_not_score_is_nan_there(kafka: KafkaSettings, tmp_path: Path):
    rows = result(kafka, tmp_path, [[example(0, frozen=0.5), example(1)]]).rows
    np.testing.assert_array_equal(rows.frozen, [0.5, np.nan])


def test_the_true_click_probability_comes_from_the_producers_ledger(kafka: KafkaSettings, tmp_path: Path):
    known = {"impression-0": 0.25, "impression-1": None}
    rows = result(kafka, tmp_path, [[example(0), example(1)]], probabilities=known).rows
    np.testing.assert_array_equal(rows.best, [0.25, np.nan])


def test_promoted_are_the_versions_that_became_champion_by_the_gate(kafka: KafkaSettings, tmp_path: Path):
    releases = (
        release(FIRST, reason="warm_started"),
        release(FIRST, reason="warm_started", alias="frozen"),
        release(SECOND),
        release(FIRST, alias="previous"),
        release(SECOND),
    )
    assert result(kafka, tmp_path, [[example(0)]], releases).promoted == 1


def test_a_swap_is_a_version_that_took_over_and_scored(kafka: KafkaSettings, tmp_path: Path):
    assert result(kafka, tmp_path, [[example(0)], [example(1)], [example(2, SECOND)]]).swaps == 1


def test_freshness_is_from_the_label_to_the_first_score_of_a_version_that_covers_it(
    kafka: KafkaSettings, tmp_path: Path
):
    first = example(0)
    later = example(1, SECOND, scored_ms=first.labeled.label_due_ms + 4_000)
    found = result(kafka, tmp_path, [[first], [later]], (release(SECOND, covered=1),))
    assert found.freshness_seconds == [4.0]


def test_topics_without_a_row_are_an_empty_outcome(kafka: KafkaSettings, tmp_path: Path):
    found = result(kafka, tmp_path, [])
    assert (len(found.rows.label), found.promoted, found.swaps, found.freshness_seconds) == (0, 0, 0, [])
