import time
from threading import Event, Thread

import msgspec
import pytest
from kafka import KafkaProducer

from stream.topics import topic_name
from trainer.promotion.commands import (
    Command,
    CommandResult,
    KafkaCommandInbox,
    NoAnswerError,
    end_of_commands,
    refusal,
    send_command,
)


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


@pytest.mark.kafka
def test_a_command_is_answered(kafka):
    trainer = Answering(kafka)
    trainer.start()
    try:
        answer = send_command(kafka, "rollback", version="0badcafe-000001")
    finally:
        trainer.end()
    assert (answer.done, answer.message) == (True, "yes")
    assert [(command.action, command.version) for command in trainer.seen] == [("rollback", "0badcafe-000001")]


@pytest.mark.kafka
def test_without_a_trainer_a_command_says_so_within_seconds(kafka):
    started = time.monotonic()
    with pytest.raises(NoAnswerError, match="is it running"):
        send_command(kafka, "pause")
    assert time.monotonic() - started < 30


@pytest.mark.kafka
def test_a_busy_trainer_is_told_from_one_that_is_not_there(kafka):
    busy = KafkaCommandInbox(kafka, 0)
    try:
        with pytest.raises(NoAnswerError, match="has received 'pause' and is busy"):
            send_command(kafka, "pause", timeout_seconds=10)
    finally:
        busy.close()


@pytest.mark.kafka
def test_an_expired_command_is_answered_and_not_obeyed(kafka):
    old = Command(command_id="old", action="rollback", created_ms=time.time_ns() // 1_000_000 - 120_000)
    producer = KafkaProducer(**kafka.client_options())
    producer.send(topic_name("trainer-commands", kafka), value=msgspec.json.encode(old), partition=0).get(timeout=10)
    producer.close()
    inbox = KafkaCommandInbox(kafka, 0)
    polled = []
    while not polled:
        polled = inbox.poll()
    inbox.close()
    # The command, and perhaps its answer, which comes back on the same topic.
    assert polled[0] == (1, None)
    assert {command for _, command in polled} == {None}
    assert end_of_commands(kafka) == 2


@pytest.mark.parametrize("created_ms", [1_700_000_000_000, 0, -(2**62), 2**62])
def test_a_command_expires_a_minute_after_it_was_sent(created_ms):
    command = Command(command_id="a", action="rollback", created_ms=created_ms)
    assert refusal(command, created_ms + 60_000) is None
    answer = refusal(command, created_ms + 60_001)
    assert (answer.command_id, answer.done) == ("a", False)
    assert "void" in answer.message


@pytest.mark.kafka
def test_an_inbox_goes_on_after_the_offset_in_the_checkpoint(kafka):
    for action in ("pause", "resume"):
        with pytest.raises(NoAnswerError):
            send_command(kafka, action, timeout_seconds=0.1)
    inbox = KafkaCommandInbox(kafka, 1)
    polled = []
    while not polled:
        polled = inbox.poll()
    inbox.close()
    # What may follow is its own receipt.
    assert [(offset, command.action) for offset, command in polled if command] == [(2, "resume")]


@pytest.mark.kafka
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
