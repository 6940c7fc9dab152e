import json
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from deploy.commands.audit import NOT_EXACT, app, print_report
from stream.settings import KafkaSettings
from tests.deploy.recorded_run import complete_run, early_run


@pytest.mark.kafka
def test_the_json_is_one_object_and_the_exit_status_tells_exact_from_not(
    kafka: KafkaSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MILLSTREAM_KAFKA_BOOTSTRAP", kafka.bootstrap)
    monkeypatch.setenv("MILLSTREAM_KAFKA_TOPIC_PREFIX", kafka.topic_prefix)
    run = complete_run(kafka.topic_prefix)
    run.write_to(kafka)
    run.write_trainer_state(tmp_path)
    arguments = ["--json", "--trainer-dir", str(tmp_path)]

    exact = CliRunner().invoke(app, arguments)
    run.decisions.append(run.decisions[0])
    run.write_trainer_state(tmp_path)
    broken = CliRunner().invoke(app, arguments)

    assert exact.exit_code == 0
    assert json.loads(exact.output)["exact"] is True
    assert json.loads(exact.output)["waiting"] == 1
    assert broken.exit_code == NOT_EXACT
    assert json.loads(broken.output)["exact"] is False


def test_the_table_shows_terms_laws_and_problems():
    run = complete_run()
    run.records["labeled-impressions", 0].pop()
    text = StringIO()

    print_report(run.conservation().report(), Console(file=text, width=120))

    assert "sampled out" in text.getvalue()
    assert "holds   clicks = joined" in text.getvalue()
    assert "BROKEN  impressions = labeled + pending" in text.getvalue()
    assert "problem: 1 impression neither labeled nor pending: lost by the label join: i4" in text.getvalue()
    assert text.getvalue().endswith("NOT exact\n")


def test_revised_labels_have_lines_of_their_own():
    text = StringIO()

    print_report(early_run().conservation().report(), Console(file=text, width=120))

    assert "revised trained" in text.getvalue()
    assert "holds   revised: labeled = joined clicks  (2 = 2)" in text.getvalue()
