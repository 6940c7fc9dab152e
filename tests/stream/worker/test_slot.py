import pytest

from stream.disk.directory_lock import DirectoryBusyError
from stream.settings import KafkaSettings
from stream.worker.slot import SlotDispute, worker_slot


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("MILLSTREAM_HOME", str(tmp_path))


def test_a_worker_slot_is_held_by_one_worker_of_a_group():
    kafka = KafkaSettings()
    with worker_slot("scorer", kafka, instance="0"):
        with worker_slot("scorer", kafka, instance="1"):
            pass
        with worker_slot("scorer", KafkaSettings(topic_prefix="other."), instance="0"):
            pass
        with pytest.raises(DirectoryBusyError, match="needs a MILLSTREAM_SCORER_INSTANCE of its own, not '0'"):
            worker_slot("scorer", kafka, instance="0").__enter__()


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def rebalances(seconds: float, count: int) -> list[str]:
    clock = Clock()
    dispute, lines = SlotDispute("shop_stream", "a", clock), []
    for _ in range(count):
        clock.now += seconds
        lines += [line] if (line := dispute.note_rebalance()) else []
    return lines


def test_two_workers_of_one_instance_on_two_machines_are_told_which_setting_to_change():
    lines = rebalances(2.0, 25)
    assert len(lines) == 2
    assert "another stream worker of the group runs as instance 'a'" in lines[0]
    assert "MILLSTREAM_JOIN_INSTANCE" in lines[0]


def test_workers_that_come_and_go_are_no_dispute():
    assert rebalances(2.0, 9) == []
    assert rebalances(10.0, 100) == []
