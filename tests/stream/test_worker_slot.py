import pytest
from aiokafka.errors import for_code

from stream.directory_lock import DirectoryBusyError
from stream.settings import KafkaSettings
from stream.worker_slot import explain_fencing, worker_slot


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


def test_a_worker_whose_instance_name_another_machine_took_is_told_which_setting_to_change():
    explain_fencing("stream", "a")
    told = repr(for_code(82)())
    assert "another stream worker runs as instance 'a'" in told
    assert "MILLSTREAM_JOIN_INSTANCE" in told
