from dataclasses import replace
from pathlib import Path

import pytest
from kafka import KafkaAdminClient, TopicPartition

from deploy.audit.run import run_audit
from stream.cluster.admin import ClusterError
from stream.settings import KafkaSettings
from stream.topics import topic_name
from tests.deploy.recorded_run import LINE, RecordedRun, complete_run, early_run, write_producer_ledger

pytestmark = pytest.mark.kafka


def audit(run: RecordedRun, kafka: KafkaSettings, directory: Path, ledger: Path | None = None):
    run.write_to(kafka)
    run.write_trainer_state(directory / "trainer")
    return run_audit(kafka, directory / "trainer", ledger)


def test_a_complete_run_on_kafka_is_exact(kafka: KafkaSettings, tmp_path: Path):
    report = audit(complete_run(kafka.topic_prefix), kafka, tmp_path)

    assert report.problems == ()
    assert (report.impressions, report.labeled, report.scored, report.trained, report.sampled_out) == (6, 5, 5, 2, 2)
    assert (report.pending, report.waiting, report.produced) == (1, 1, None)


def test_an_early_run_on_kafka_is_exact_at_either_revision(kafka: KafkaSettings, tmp_path: Path):
    write_producer_ledger(tmp_path / "ledger.parquet", {"i0": 1, "i1": 1, "i2": 0, "i3": 1})

    report = audit(early_run(kafka.topic_prefix), kafka, tmp_path, tmp_path / "ledger.parquet")

    assert report.problems == ()
    assert (report.labeled, report.trained, report.further_clicks) == (4, 4, 1)
    assert report.revised is not None
    assert (report.revised.labeled, report.revised.trained, report.revised.sampled_out) == (2, 1, 1)


def test_one_label_deleted_on_purpose_is_not_exact(kafka: KafkaSettings, tmp_path: Path):
    run = complete_run(kafka.topic_prefix)
    del run.records["labeled-impressions", 0][1]
    run.settled = replace(run.settled, scorer={0: 2, 1: 2})

    report = audit(run, kafka, tmp_path)

    assert not report.exact
    assert any("lost by the label join: i2" in problem for problem in report.problems)


def test_an_id_taught_twice_is_not_exact(kafka: KafkaSettings, tmp_path: Path):
    run = complete_run(kafka.topic_prefix)
    run.decisions.append((LINE, "i3", 0, "trained"))

    report = audit(run, kafka, tmp_path)

    assert any("decided twice by one model line: i3" in problem for problem in report.problems)


def test_the_producers_ledger_is_compared(kafka: KafkaSettings, tmp_path: Path):
    write_producer_ledger(tmp_path / "ledger.parquet", {"i0": 1, "i1": 0, "i6": 0})

    report = audit(complete_run(kafka.topic_prefix), kafka, tmp_path, tmp_path / "ledger.parquet")

    assert report.produced == 3
    assert any("not in events: i6" in problem for problem in report.problems)
    assert any("differ from the producer's ledger: i1" in problem for problem in report.problems)


def test_without_a_model_line_everything_scored_waits(kafka: KafkaSettings, tmp_path: Path):
    complete_run(kafka.topic_prefix).write_to(kafka)

    report = run_audit(kafka, tmp_path / "nothing", None)

    assert report.exact
    assert report.waiting_to_train == 5


def test_missing_topics_are_one_clear_line(kafka: KafkaSettings, tmp_path: Path):
    with pytest.raises(ClusterError, match="topics apply"):
        run_audit(kafka.model_copy(update={"topic_prefix": "nobody."}), tmp_path, None)


def test_after_retention_the_audit_counts_from_what_is_left_and_says_from_where(kafka: KafkaSettings, tmp_path: Path):
    run = complete_run(kafka.topic_prefix)
    run.write_to(kafka)
    run.write_trainer_state(tmp_path / "trainer")
    admin = KafkaAdminClient(**kafka.client_options())
    for kind, number in (("events", 2), ("labeled-impressions", 1)):
        admin.delete_records({TopicPartition(topic_name(kind, kafka), 0): number})
    admin.close()
    write_producer_ledger(tmp_path / "ledger.parquet", {"i0": 1, "i2": 0})

    report = run_audit(kafka, tmp_path / "trainer", tmp_path / "ledger.parquet")

    assert report.problems == ()
    assert report.counted_from == {0: 2}
    assert (report.impressions, report.labeled, report.scored) == (4, 3, 3)
