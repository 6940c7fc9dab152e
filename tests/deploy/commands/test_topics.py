import json

import pytest
from typer.testing import CliRunner

from deploy.commands.topics import DIFFERENT, app
from stream.settings import KafkaSettings

pytestmark = pytest.mark.kafka


@pytest.fixture(autouse=True)
def _cluster(kafka: KafkaSettings, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MILLSTREAM_KAFKA_BOOTSTRAP", kafka.bootstrap)
    monkeypatch.setenv("MILLSTREAM_KAFKA_PARTITIONS", "2")
    monkeypatch.setenv("MILLSTREAM_KAFKA_TOPIC_PREFIX", f"{kafka.topic_prefix}cli.")


def test_missing_topics_are_a_difference_until_they_are_applied():
    runner = CliRunner()
    before = runner.invoke(app, ["check"])
    apply = runner.invoke(app, ["apply"])
    after = runner.invoke(app, ["check"])

    assert before.exit_code == DIFFERENT
    assert "it does not exist; run 'millstream topics apply'" in before.output
    assert apply.output.count("created ") == 6
    assert after.exit_code == 0
    assert "all 6 topics are as they should be" in after.output
    assert "all 6 topics exist" in runner.invoke(app, ["apply"]).output


def test_programs_read_what_was_created():
    runner = CliRunner()
    first = json.loads(runner.invoke(app, ["apply", "--json"]).output)
    again = json.loads(runner.invoke(app, ["apply", "--json"]).output)

    assert len(first["created"]) == 6
    assert first["created"] == first["topics"] == again["topics"]
    assert again["created"] == []
