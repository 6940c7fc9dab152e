"""A worker's slot in its group: one instance name, one worker."""

from contextlib import AbstractContextManager
from pathlib import Path

from aiokafka.errors import BrokerResponseError, kafka_errors

from stream.directory_lock import directory_lock
from stream.settings import KafkaSettings, state_directory

_FENCED_INSTANCE_ID = 82
"""Kafka's code for a member whose instance name another member took."""


def slot_directory(group: str, instance: str) -> Path:
    """Return the directory of a slot, on this machine."""
    return state_directory() / "faust" / f"{group}-{instance}"


def worker_slot(name: str, kafka: KafkaSettings, *, instance: str) -> AbstractContextManager[None]:
    """Hold a worker slot of this machine: two workers of one name would take each other's partitions for ever.

    Args:
        name: Name of the process.
        kafka: Topic prefix.
        instance: Name of the slot.

    Raises:
        DirectoryBusyError: another process holds it.
    """
    directory = slot_directory(f"{kafka.topic_prefix}{name}", instance)
    setting = _instance_setting(name)
    return directory_lock(directory, f"a second {name} worker needs a {setting} of its own, not {instance!r}")


def _instance_setting(name: str) -> str:
    return f"MILLSTREAM_{'JOIN' if name == 'stream' else name.upper()}_INSTANCE"


def explain_fencing(name: str, instance: str) -> None:
    """Give Kafka's answer to a worker whose instance name another machine's worker took a name and a remedy.

    aiokafka does not know its code, and would end the worker with an UnknownError.
    """

    class FencedInstanceError(BrokerResponseError):  # type: ignore[misc]
        errno = _FENCED_INSTANCE_ID
        message = "FENCED_INSTANCE_ID"

        def __repr__(self) -> str:
            return (
                f"FencedInstanceError: another {name} worker runs as instance {instance!r}; give each worker of the "
                f"group a {_instance_setting(name)} of its own"
            )

    kafka_errors[_FENCED_INSTANCE_ID] = FencedInstanceError
