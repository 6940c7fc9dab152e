from pathlib import Path

import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from scorer.registry.registry import ModelRegistry
from stream.events import encode
from stream.settings import KafkaSettings
from stream.topics import topic_name
from tests.doubles import TINY_LINE, tiny_bundle, tiny_labeled
from tests.scorer.processes import ExampleReader, ScorerProcess, labeled_rows, publish, send_labeled, wait_until
from tests.stream.cluster.test_gone_records import gone_letters, leave_only_the_last

pytestmark = pytest.mark.kafka

FIRST, SECOND = f"{TINY_LINE}-000000", f"{TINY_LINE}-000001"


@pytest.fixture
def registry(tmp_path: Path) -> ModelRegistry:
    return ModelRegistry(tmp_path / "registry")


@pytest.fixture
def first_release(kafka: KafkaSettings, registry: ModelRegistry, tmp_path: Path) -> None:
    publish(kafka, registry, tiny_bundle(tmp_path / "tokenizer"), "champion", "frozen")


def promote_second(kafka: KafkaSettings, registry: ModelRegistry, tmp_path: Path) -> None:
    second = tiny_bundle(tmp_path / "tokenizer", number=1)
    second.model.head.bias.data.fill_(0.5)
    publish(kafka, registry, second, "champion")


@pytest.mark.usefixtures("first_release")
def test_every_row_is_scored_to_the_partition_it_came_from(kafka: KafkaSettings, tmp_path: Path) -> None:
    rows = labeled_rows(range(300))
    send_labeled(kafka, rows)
    with ScorerProcess(kafka, tmp_path) as process, ExampleReader(kafka) as reader:
        wait_until(lambda: len(reader.ids()) == 300, "300 examples")
        process.wait_for_metric("millstream_scorer_rows_total", 1, label="1")
        assert process.terminate() == 0
        for partition, examples in reader.by_partition.items():
            sent = [row for row in rows if row.source_partition == partition]
            assert [example.labeled for example in examples] == sent
            assert {example.live.version for example in examples} == {FIRST}
        frozen = [example for example in reader.read() if example.frozen is not None]
        assert 0.15 < len(frozen) / 300 < 0.35
        for example in frozen:
            assert example.frozen.version == FIRST
            assert example.frozen.z == pytest.approx(example.live.z, abs=1e-5)


@pytest.mark.usefixtures("first_release")
def test_both_of_two_scorers_switch_to_a_promoted_version(
    kafka: KafkaSettings, registry: ModelRegistry, tmp_path: Path
) -> None:
    with (
        ScorerProcess(kafka, tmp_path, instance="a") as one,
        ScorerProcess(kafka, tmp_path, instance="b") as other,
        ExampleReader(kafka) as reader,
    ):
        # Each of the two owns one of the two partitions.
        for process in (one, other):
            process.wait_for_metric("millstream_scorer_partitions_count", 1)
        wait_until(
            lambda: [p.metric("millstream_scorer_partitions_count") for p in (one, other)] == [1.0, 1.0],
            "one partition each",
        )
        send_labeled(kafka, labeled_rows(range(100)))
        wait_until(lambda: len(reader.ids()) == 100, "100 examples of the first version")
        promote_second(kafka, registry, tmp_path)
        for process in (one, other):
            process.wait_for_metric("millstream_scorer_swaps_total", 1, result="switched")
            assert process.metric("millstream_scorer_model_number") == 1.0
        send_labeled(kafka, labeled_rows(range(100, 200)))
        wait_until(lambda: len(reader.ids()) == 200, "100 more examples")
        for examples in reader.by_partition.values():
            versions = {example.labeled.source_offset < 100: set() for example in examples}
            for example in examples:
                versions[example.labeled.source_offset < 100].add(example.live.version)
            assert versions == {True: {FIRST}, False: {SECOND}}
        for process in (one, other):
            assert process.terminate() == 0


@pytest.mark.usefixtures("first_release")
def test_killing_the_scorer_midway_loses_no_row(kafka: KafkaSettings, tmp_path: Path) -> None:
    rows = labeled_rows(range(2_000))
    send_labeled(kafka, rows)
    small = {"MILLSTREAM_SCORER_MAX_BATCH_ROWS": "20"}
    with ScorerProcess(kafka, tmp_path, **small) as process, ExampleReader(kafka) as reader:
        for num_rows in (200, 700, 1_200):
            wait_until(lambda wanted=num_rows: len(reader.ids()) >= wanted, f"{num_rows} examples")
            process.kill()
            process.start()
        wait_until(lambda: len(reader.ids()) == 2_000, "every row scored")
        assert reader.ids() == {row.impression.impression_id for row in rows}
        assert process.terminate() == 0


def test_a_restarted_scorer_weighs_by_the_normaliser_of_the_rows_before_it(
    kafka: KafkaSettings, registry: ModelRegistry, tmp_path: Path
) -> None:
    bundle = tiny_bundle(tmp_path / "tokenizer")
    bundle.model.head.bias.data.fill_(-2.0)
    publish(kafka, registry, bundle, "champion")
    send_labeled(kafka, labeled_rows(range(600)))
    with ScorerProcess(kafka, tmp_path) as process, ExampleReader(kafka) as reader:
        wait_until(lambda: len(reader.ids()) == 600, "600 examples")
        before = max(reader.read(), key=lambda example: example.scored_ms)
        assert process.terminate() == 0
        process.start()
        # Clicks alone, which the model does not expect: their own mean score is three times that of all rows.
        send_labeled(kafka, [tiny_labeled(number, label=1) for number in range(600, 620)])
        wait_until(lambda: len(reader.ids()) == 620, "20 clicks more")
        after = min(
            (example for example in reader.read() if example.labeled.source_offset >= 600),
            key=lambda example: example.scored_ms,
        )
        assert process.terminate() == 0
    assert after.mean_score == pytest.approx(before.mean_score, rel=0.1)


@pytest.mark.usefixtures("first_release")
def test_a_row_that_cannot_be_decoded_becomes_a_dead_letter_and_stops_no_other(
    kafka: KafkaSettings, tmp_path: Path
) -> None:
    producer = KafkaProducer(**kafka.client_options())
    producer.send(topic_name("labeled-impressions", kafka), key=b"bad", value=b"{", partition=0).get(timeout=30)
    producer.close()
    send_labeled(kafka, labeled_rows(range(10)))
    with ScorerProcess(kafka, tmp_path) as process, ExampleReader(kafka) as reader:
        wait_until(lambda: len(reader.ids()) == 10, "the ten good rows")
        process.wait_for_metric("millstream_scorer_dead_letters_total", 1, reason="malformed")
        assert process.terminate() == 0
    letters = KafkaConsumer(**kafka.client_options(), group_id=None)
    partitions = [TopicPartition(topic_name("dead-letters", kafka), n) for n in range(kafka.partitions)]
    letters.assign(partitions)
    letters.seek_to_beginning(*partitions)
    found: list = []
    wait_until(lambda: found.extend(r for rs in letters.poll(200).values() for r in rs) or bool(found), "a dead letter")
    letters.close()
    headers = dict(found[0].headers)
    assert (found[0].key, found[0].value) == (b"bad", b"{")
    assert headers["millstream.stage"] == b"scorer"
    assert headers["millstream.reason"] == b"malformed"


@pytest.mark.usefixtures("first_release")
def test_what_retention_took_from_the_scorer_is_counted_and_written_down(kafka: KafkaSettings, tmp_path: Path) -> None:
    topic = topic_name("labeled-impressions", kafka)
    leave_only_the_last(kafka, topic, "scorer", [encode(row) for row in labeled_rows(range(0, 200, 2))])
    with ScorerProcess(kafka, tmp_path) as process, ExampleReader(kafka) as reader:
        wait_until(lambda: len(reader.ids()) == 10, "what is left")
        assert process.metric("millstream_scorer_gone_records_total") == 80
        assert process.terminate() == 0
    assert gone_letters(kafka) == [(b"scorer", topic.encode(), b"10", b"89")]


def test_the_scorer_waits_for_the_first_champion_and_says_so(
    kafka: KafkaSettings, registry: ModelRegistry, tmp_path: Path
) -> None:
    send_labeled(kafka, labeled_rows(range(10)))
    with ScorerProcess(kafka, tmp_path) as process, ExampleReader(kafka) as reader:
        wait_until(lambda: "waiting_for_champion" in process.log(), "the line that says it waits")
        publish(kafka, registry, tiny_bundle(tmp_path / "tokenizer"), "champion")
        wait_until(lambda: len(reader.ids()) == 10, "rows scored after the release")
        assert process.terminate() == 0


def test_the_scorer_ends_cleanly_while_it_waits(kafka: KafkaSettings, tmp_path: Path) -> None:
    with ScorerProcess(kafka, tmp_path) as process:
        wait_until(lambda: "waiting_for_champion" in process.log(), "the line that says it waits")
        assert process.terminate() == 0


def test_missing_topics_end_the_scorer_with_one_line_that_says_what_to_do(kafka: KafkaSettings, tmp_path: Path) -> None:
    elsewhere = kafka.model_copy(update={"topic_prefix": "nowhere."})
    with ScorerProcess(elsewhere, tmp_path) as process:
        wait_until(lambda: "millstream topics apply" in process.log(), "the remedy")
        assert process.wait() == 2
        assert "Traceback" not in process.log()
