from threading import Event, Thread

import pytest
from kafka import KafkaProducer

from stream.topics import topic_name
from trainer.commands import (
    CommandResult,
    KafkaCommandInbox,
    NoAnswerError,
    end_of_commands,
    send_command,
)

pytestmark = pytest.mark.kafka


class Answering(Thread):
    """A trainer that says yes to everything."""

    def __init__(self, kafka):
        super().__init__(daemon=True)
        self.seen = []
        self._inbox = KafkaCommandInbox(kafka, 0)
        self._ended = Event()

    def run(self):
        while not self._ended.wait(0.02):
            for _, command in self._inbox.poll():
                if command is not None:
                    self.seen.append(command)
                    self._inbox.answer(CommandResult(command_id=command.command_id, done=True, message="yes"))
        self._inbox.close()

    def end(self):
        self._ended.set()
        self.join()


def test_a_command_is_answered(kafka):
    trainer = Answering(kafka)
    trainer.start()
    try:
        answer = send_command(kafka, "rollback", version="0badcafe-000001")
    finally:
        trainer.end()
    assert (answer.done, answer.message) == (True, "yes")
    assert [(command.action, command.version) for command in trainer.seen] == [("rollback", "0badcafe-000001")]


def test_a_command_without_an_answer_says_so_and_waits_in_the_topic(kafka):
    with pytest.raises(NoAnswerError, match="is it running"):
        send_command(kafka, "pause", timeout_seconds=0.5)
    assert end_of_commands(kafka) == 1


def test_an_inbox_goes_on_after_the_offset_in_the_checkpoint(kafka):
    for action in ("pause", "resume"):
        with pytest.raises(NoAnswerError):
            send_command(kafka, action, timeout_seconds=0.1)
    inbox = KafkaCommandInbox(kafka, 1)
    polled = []
    while not polled:
        polled = inbox.poll()
    inbox.close()
    assert [(offset, command.action) for offset, command in polled] == [(2, "resume")]


def test_bytes_that_are_no_command_are_passed(kafka):
    producer = KafkaProducer(**kafka.client_options())
    producer.send(topic_name("trainer-commands", kafka), value=b"{", partition=0).get(timeout=10)
    producer.close()
    inbox = KafkaCommandInbox(kafka, 0)
    polled = []
    while not polled:
        polled = inbox.poll()
    inbox.close()
    assert polled == [(1, None)]
