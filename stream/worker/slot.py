"""A worker's slot in its group: one instance name, one worker."""

import time
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from stream.disk.directory_lock import directory_lock
from stream.disk.state_home import place_of
from stream.settings import KafkaSettings

_SETTINGS = {
    "stream": "MILLSTREAM_JOIN_INSTANCE",
    "adapter": "MILLSTREAM_ADAPTER_INSTANCE",
    "scorer": "MILLSTREAM_SCORER_INSTANCE",
}
"""What names the slots of each kind of worker."""

DISPUTE_REBALANCES = 10
DISPUTE_SECONDS = 60.0
"""So many rebalances in so many seconds are a dispute: two workers of one name make one every two seconds."""


def slot_directory(group: str, instance: str) -> Path:
    """Return the directory of a slot, on this machine."""
    return place_of("faust") / f"{group}-{instance}"


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
    remedy = f"a second {name} worker needs a {_SETTINGS[name]} of its own, not {instance!r}"
    return directory_lock(directory, remedy)


class SlotDispute:
    """Recognises that a worker of another machine has this one's instance name.

    Kafka gives the slot to whoever joined last, the other joins again at its next heartbeat, and so on for ever: each
    loses its partitions every few seconds. Workers that come and go rebalance a group a few times at most.

    Args:
        group: Name of the consumer group, which ends with that of the process.
        instance: Name of the slot.
        clock: Seconds, monotonic.
    """

    def __init__(self, group: str, instance: str, clock: Callable[[], float] = time.monotonic) -> None:
        name = next(name for name in _SETTINGS if group.endswith(name))
        self._line = (
            f"this worker lost its partitions {DISPUTE_REBALANCES} times in {DISPUTE_SECONDS:.0f} s: another {name} "
            f"worker of the group runs as instance {instance!r}; give each a {_SETTINGS[name]} of its own"
        )
        self._clock = clock
        self._rebalances: deque[float] = deque(maxlen=DISPUTE_REBALANCES)

    def note_rebalance(self) -> str | None:
        """Take note that partitions were given; return what is wrong, and what to do, when that happens too often."""
        now = self._clock()
        self._rebalances.append(now)
        if len(self._rebalances) < DISPUTE_REBALANCES or now - self._rebalances[0] > DISPUTE_SECONDS:
            return None
        self._rebalances.clear()
        return self._line
