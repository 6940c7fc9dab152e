from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest
from kafka import TopicPartition
from kafka.errors import KafkaConnectionError, KafkaTimeoutError
from prometheus_client import CollectorRegistry

from stream.cluster.outage import Outage
from stream.example_batch import encode_examples
from stream.settings import KafkaSettings
from tests.trainer.rig import MemoryInbox, MemoryLog, Rig, example, recorded_log
from trainer.metrics import TrainerMetrics
from trainer.patient_edges import PatientInbox, PatientSource
from trainer.plans.source import KafkaExampleSource

READING = ("seek", "poll", "positions", "ends")


class Restarting:
    """An edge whose broker does not answer every third call of each kind."""

    def __init__(self, edge: object) -> None:
        self._edge = edge
        self.calls: Counter[str] = Counter()

    def __getattr__(self, name: str):
        def call(*arguments: object):
            self.calls[name] += 1
            if self.calls[name] % 3 == 1:
                raise KafkaConnectionError("refused")
            return getattr(self._edge, name)(*arguments)

        return call if name != "commit" else getattr(self._edge, name)


def outage() -> Outage:
    return Outage(lambda: False, lambda _seconds: None)


def test_a_trainer_that_waits_out_restarts_of_the_broker_learns_what_it_would_have(tmp_path: Path):
    records = recorded_log(400)
    undisturbed = Rig(tmp_path / "undisturbed", records)
    undisturbed.run_to_end()

    rig = Rig(tmp_path / "restarts", records)
    broker = Restarting(MemoryLog(records))
    rig.log = PatientSource(broker, outage())
    rig.trainer = rig._build()
    rig.run_to_end()

    assert all(broker.calls[name] > 1 for name in READING)
    assert rig.checkpoint_digest() == undisturbed.checkpoint_digest()


def test_a_command_is_read_and_answered_once_the_broker_answers():
    inbox = MemoryInbox()
    inbox.send("pause")
    patient = PatientInbox(Restarting(inbox), outage())
    ((offset, command),) = patient.poll()
    assert (offset, command and command.action) == (1, "pause")
    patient.answer("done")
    assert inbox.answers == ["done"]


def test_an_edge_that_is_not_answered_any_more_gives_up_when_asked_to_stop():
    source = PatientSource(Restarting(MemoryLog([])), Outage(lambda: True, lambda _seconds: None))
    with pytest.raises(KafkaConnectionError):
        source.ends()


class OneRecordAtATime:
    """A consumer of one partition in memory."""

    def __init__(self, values: list[bytes]) -> None:
        self._values = values
        self._position = 0

    def poll(self, timeout_ms: int) -> dict[TopicPartition, list[SimpleNamespace]]:
        if self._position == len(self._values):
            return {}
        place = self._position
        self._position += 1
        record = SimpleNamespace(partition=0, offset=place, timestamp=1, key=b"", value=self._values[place])
        return {TopicPartition("examples", 0): [record]}

    def seek(self, _partition: TopicPartition, offset: int) -> None:
        self._position = offset

    def resume(self, *_partitions: TopicPartition) -> None:
        pass


class DeadLetters:
    """A producer that the first letter does not reach."""

    def __init__(self) -> None:
        self.num_sent = 0

    def send(self, *_: object, **__: object) -> "DeadLetters":
        return self

    def get(self, timeout: float) -> None:
        self.num_sent += 1
        if self.num_sent == 1:
            raise KafkaTimeoutError(f"down for {timeout:.0f} s")


def test_a_record_whose_dead_letter_was_not_taken_is_read_again():
    source = object.__new__(KafkaExampleSource)
    source._partitions, source._topic, source._kafka = [0], "examples", KafkaSettings()
    source._consumer = OneRecordAtATime([b"junk", *encode_examples([example(1)])])
    source._unreadable = TrainerMetrics(CollectorRegistry()).unreadable_records
    source._producer = DeadLetters()
    patient = PatientSource(source, outage())
    assert [record.offset for _ in range(3) for record in patient.poll(0.1, [0])] == [0, 1]
    assert source._producer.num_sent == 2
