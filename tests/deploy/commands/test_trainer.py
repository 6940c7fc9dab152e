import json
import threading
import time

import click
import pytest
from typer.testing import CliRunner

from deploy.commands.trainer import app, ask_trainer
from stream.settings import KafkaSettings
from trainer.promotion.commands import CommandResult, KafkaCommandInbox

pytestmark = pytest.mark.kafka


@pytest.fixture(autouse=True)
def _cluster(kafka: KafkaSettings, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MILLSTREAM_KAFKA_BOOTSTRAP", kafka.bootstrap)
    monkeypatch.setenv("MILLSTREAM_KAFKA_TOPIC_PREFIX", kafka.topic_prefix)


def answer_next_command(kafka: KafkaSettings, *, done: bool) -> threading.Thread:
    """Stand in for a trainer: answer the next command that comes."""
    inbox = KafkaCommandInbox(kafka, 0)

    def answer() -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            for _, command in inbox.poll():
                if command is not None:
                    inbox.answer(CommandResult(command_id=command.command_id, done=done, message=command.action))
                    inbox.close()
                    return
            time.sleep(0.05)

    thread = threading.Thread(target=answer)
    thread.start()
    return thread


def test_the_trainers_answer_is_shown(kafka: KafkaSettings, capsys: pytest.CaptureFixture[str]):
    thread = answer_next_command(kafka, done=True)
    ask_trainer("pause")
    thread.join()

    assert capsys.readouterr().out == "pause\n"


@pytest.mark.parametrize(("done", "status"), [(True, 0), (False, 1)])
def test_programs_read_the_answer_and_the_refusal(kafka: KafkaSettings, done: bool, status: int):
    thread = answer_next_command(kafka, done=done)
    result = CliRunner().invoke(app, ["pause", "--json"])
    thread.join()

    assert json.loads(result.output) == {"done": done, "message": "pause"}
    assert result.exit_code == status


def test_a_refusal_is_exit_status_1(kafka: KafkaSettings):
    thread = answer_next_command(kafka, done=False)
    with pytest.raises(Exception) as refused:  # noqa: PT011 (typer keeps its Exit in a private copy of click)
        ask_trainer("resume")
    thread.join()

    assert getattr(refused.value, "exit_code", None) == 1
    assert not isinstance(refused.value, click.ClickException)
