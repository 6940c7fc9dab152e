import json
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from kafka import KafkaAdminClient, KafkaProducer, TopicPartition

from deploy.local_kafka.broker import LocalKafka, free_port
from scorer.evaluator.snapshot_file import Snapshot, read_snapshot, write_snapshot
from stream.cluster.admin import apply_topics
from stream.cluster.releases import announce
from stream.events import ModelRelease, RoleScore, WeightedExample
from stream.example_batch import encode_examples
from stream.process.start import REFUSED
from stream.settings import KafkaSettings
from stream.topics import topic_name
from tests.doubles import TINY_LINE, tiny_labeled
from tests.scorer.processes import ScorerProcess, wait_until

pytestmark = pytest.mark.kafka

FIRST, SECOND = f"{TINY_LINE}-000000", f"{TINY_LINE}-000001"
NOW_MS = 1_700_000_100_000


def examples(numbers: range, *, version: str = FIRST) -> list[WeightedExample]:
    return [
        WeightedExample(
            labeled=tiny_labeled(number, label=int(number % 5 == 0)),
            live=RoleScore(version=version, z=1.0 if number % 5 == 0 else 0.0),
            frozen=RoleScore(version=FIRST, z=0.0) if number % 4 == 0 else None,
            hidden_norm=1.0,
            scored_ms=NOW_MS,
            strategy="full",
            inclusion_probability=1.0,
            importance_weight=1.0,
        )
        for number in numbers
    ]


def send(kafka: KafkaSettings, batch: Sequence[WeightedExample], partition: int) -> None:
    producer = KafkaProducer(**kafka.client_options())
    for value in encode_examples(batch):
        producer.send(topic_name("weighted-examples", kafka), value=value, partition=partition).get(timeout=30)
    producer.close()


def evaluator(kafka: KafkaSettings, home: Path) -> ScorerProcess:
    settings = {"MILLSTREAM_EVALUATOR_SNAPSHOT_SECONDS": "0.5", "MILLSTREAM_EVALUATOR_EXPORT_SECONDS": "0.2"}
    return ScorerProcess(kafka, home, "evaluator", **settings)


def test_roles_are_judged_on_the_rows_that_both_scored(kafka: KafkaSettings, tmp_path: Path) -> None:
    send(kafka, examples(range(600)), 0)
    send(kafka, examples(range(600, 1_200)), 1)
    with evaluator(kafka, tmp_path) as process:
        process.wait_for_metric("millstream_evaluator_distinct_rows", 1_200)
        assert process.metric("millstream_evaluator_auc_ratio", role="live") == 1.0
        assert process.metric("millstream_evaluator_auc_ratio", role="frozen") == 0.5
        assert process.metric("millstream_evaluator_all_rows_auc_ratio") == 1.0
        assert process.metric("millstream_evaluator_common_rows") == 300
        assert process.metric("millstream_evaluator_ctr_ratio") == pytest.approx(0.2)
        assert process.metric("millstream_evaluator_lag_records") == 0
        assert process.terminate() == 0


def test_too_few_rows_show_no_auc_at_all(kafka: KafkaSettings, tmp_path: Path) -> None:
    send(kafka, examples(range(50)), 0)
    with evaluator(kafka, tmp_path) as process:
        process.wait_for_metric("millstream_evaluator_distinct_rows", 50)
        assert process.metric("millstream_evaluator_auc_ratio", role="live") is None
        assert process.terminate() == 0


def test_a_killed_evaluator_continues_from_its_snapshot_and_counts_no_row_twice(
    kafka: KafkaSettings, tmp_path: Path
) -> None:
    send(kafka, examples(range(300)), 0)
    snapshot = tmp_path / "evaluator" / "snapshot.npz"
    with evaluator(kafka, tmp_path) as process:
        process.wait_for_metric("millstream_evaluator_distinct_rows", 300)
        taken = time.time()
        wait_until(lambda: snapshot.exists() and snapshot.stat().st_mtime > taken, "a snapshot of the 300 rows")
        process.kill()
        # A scorer that restarts writes rows again: the last hundred come twice.
        send(kafka, examples(range(200, 500)), 0)
        process.start()
        process.wait_for_metric("millstream_evaluator_distinct_rows", 500)
        assert process.metric("millstream_evaluator_distinct_rows") == 500
        assert process.metric("millstream_evaluator_rows_total", copy="new") == 200
        assert process.metric("millstream_evaluator_rows_total", copy="repeat") == 100
        assert process.metric("millstream_evaluator_window_rows") == 500
        assert process.terminate() == 0


def test_what_retention_took_while_the_evaluator_was_away_is_told_and_counted(
    kafka: KafkaSettings, tmp_path: Path
) -> None:
    topic = topic_name("weighted-examples", kafka)
    path = tmp_path / "evaluator" / "snapshot.npz"
    send(kafka, examples(range(300)), 0)
    with evaluator(kafka, tmp_path) as process:
        process.wait_for_metric("millstream_evaluator_distinct_rows", 300)
        assert process.terminate() == 0
        kept = read_snapshot(path)
        assert kept is not None
        for start in range(300, 500, 50):
            send(kafka, examples(range(start, start + 50)), 0)
        admin = KafkaAdminClient(**kafka.client_options())
        admin.delete_records({TopicPartition(topic, 0): kept.offsets[0] + 3})
        admin.close()
        process.start()
        process.wait_for_metric("millstream_evaluator_distinct_rows", 350)
        assert process.metric("millstream_evaluator_gone_records_total") == 3
        assert f'"first_offset": {kept.offsets[0]}' in process.log()
        assert process.terminate() == 0


def test_freshness_is_shown_when_a_promoted_version_scores(kafka: KafkaSettings, tmp_path: Path) -> None:
    first = examples(range(10))
    send(kafka, first, 0)
    announce(
        kafka,
        [
            ModelRelease(
                alias="champion",
                version=SECOND,
                digest="",
                location="",
                reason="promoted",
                created_ms=NOW_MS,
                covered_offsets={"0": 1},
            )
        ],
    )
    send(kafka, examples(range(10, 20), version=SECOND), 0)
    with evaluator(kafka, tmp_path) as process:
        process.wait_for_metric("millstream_evaluator_freshness_p95_seconds", 0)
        assert process.metric("millstream_evaluator_freshness_seconds_count") == 10
        slowest = (NOW_MS - first[0].labeled.label_due_ms) / 1000
        assert process.metric("millstream_evaluator_freshness_p95_seconds") == pytest.approx(slowest, abs=0.1)
        assert process.metric("millstream_evaluator_waiting_rows") == 10
        assert process.terminate() == 0


def test_a_restarting_broker_is_waited_for_with_a_line_and_not_a_flood(tmp_path: Path) -> None:
    broker = LocalKafka(tmp_path / "kafka", free_port())
    broker.start()
    try:
        kafka = KafkaSettings(bootstrap=broker.bootstrap, topic_prefix="restart.", partitions=2)
        apply_topics(kafka)
        send(kafka, examples(range(100)), 0)
        with evaluator(kafka, tmp_path) as process:
            process.wait_for_metric("millstream_evaluator_distinct_rows", 100)
            broker.stop()
            time.sleep(5.0)  # as long as many attempts of a client take
            broker.start()
            send(kafka, examples(range(100, 300)), 0)
            process.wait_for_metric("millstream_evaluator_distinct_rows", 300)
            lines = [json.loads(line) for line in process.log().splitlines()]
            assert 1 <= sum(line["logger"].startswith("kafka") for line in lines) <= 4
            assert process.terminate() == 0
    finally:
        broker.stop()


def test_a_snapshot_of_a_release_that_kept_other_state_is_dropped_loudly(kafka: KafkaSettings, tmp_path: Path) -> None:
    send(kafka, examples(range(300)), 0)
    path = tmp_path / "evaluator" / "snapshot.npz"
    with evaluator(kafka, tmp_path) as process:
        process.wait_for_metric("millstream_evaluator_distinct_rows", 300)
        assert process.terminate() == 0
        kept = read_snapshot(path)
        assert kept is not None
        arrays = {name: array for name, array in kept.arrays.items() if name != "window.query"}
        write_snapshot(path, Snapshot(kept.topic, kept.offsets, arrays))
        process.start()
        process.wait_for_metric("millstream_evaluator_window_rows", 300)
        assert "snapshot_dropped" in process.log()
        assert process.terminate() == 0


def test_where_the_examples_have_no_topic_the_evaluator_says_what_to_run(kafka: KafkaSettings, tmp_path: Path) -> None:
    admin = KafkaAdminClient(**kafka.client_options())
    admin.delete_topics([topic_name("weighted-examples", kafka)])
    admin.close()
    with evaluator(kafka, tmp_path) as process:
        assert process.wait() == REFUSED
        assert "does not exist" in process.log()
        assert "run 'millstream topics apply'" in process.log()
        assert "Traceback" not in process.log()


def test_a_snapshot_of_other_topics_is_refused_with_the_remedy(kafka: KafkaSettings, tmp_path: Path) -> None:
    with evaluator(kafka, tmp_path) as process:
        process.wait_for_metric("millstream_evaluator_lag_records", 0)
        assert process.terminate() == 0
    snapshot = tmp_path / "evaluator" / "snapshot.npz"
    assert snapshot.exists()
    other = kafka.model_copy(update={"topic_prefix": f"{kafka.topic_prefix}other."})
    apply_topics(other)
    with evaluator(other, tmp_path) as process:
        assert process.wait() == REFUSED
        assert "MILLSTREAM_EVALUATOR_DIRECTORY" in process.log()
