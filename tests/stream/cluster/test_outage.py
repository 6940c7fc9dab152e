from collections.abc import Callable

import pytest
import structlog
from kafka.errors import KafkaConnectionError, KafkaTimeoutError, TopicAuthorizationFailedError

from stream.cluster.outage import RETRY_SECONDS, Outage


class Time:
    def __init__(self) -> None:
        self.now = 0.0
        self.stop = False

    def wait(self, seconds: float) -> None:
        self.now += seconds

    def outage(self) -> Outage:
        return Outage(lambda: self.stop, self.wait, lambda: self.now)


def answers_after(*errors: Exception) -> Callable[[], str]:
    left = list(errors)

    def call() -> str:
        if left:
            raise left.pop(0)
        return "answer"

    return call


def test_a_call_is_repeated_until_it_is_answered_and_two_lines_tell_of_it():
    time = Time()
    with structlog.testing.capture_logs() as logs:
        found = time.outage().through(answers_after(*[KafkaConnectionError("refused")] * 20, KafkaTimeoutError("slow")))
    assert found == "answer"
    assert time.now == 21 * RETRY_SECONDS
    assert [line["event"] for line in logs] == ["kafka_unreachable", "kafka_answers_again"]
    assert logs[1]["seconds"] == 21 * RETRY_SECONDS


def test_each_outage_is_told_of():
    outage = Time().outage()
    with structlog.testing.capture_logs() as logs:
        for _ in range(2):
            outage.through(answers_after(KafkaConnectionError("refused")))
    assert [line["event"] for line in logs] == ["kafka_unreachable", "kafka_answers_again"] * 2


def test_what_no_waiting_cures_is_raised_at_once():
    time = Time()
    with pytest.raises(TopicAuthorizationFailedError):
        time.outage().through(answers_after(TopicAuthorizationFailedError("events")))
    assert time.now == 0.0


def test_a_process_that_is_asked_to_stop_waits_no_longer():
    time = Time()
    time.stop = True
    with pytest.raises(KafkaConnectionError):
        time.outage().through(answers_after(KafkaConnectionError("refused"), KafkaConnectionError("refused")))
