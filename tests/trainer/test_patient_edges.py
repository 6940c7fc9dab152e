from collections import Counter
from pathlib import Path

import pytest
from kafka.errors import KafkaConnectionError

from stream.outage import Outage
from tests.trainer.rig import MemoryInbox, MemoryLog, Rig, recorded_log
from trainer.patient_edges import PatientInbox, PatientSource

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
