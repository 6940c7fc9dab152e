"""One log line a minute of what a process did since the last, taken from the counters that /metrics shows."""

import time

import structlog
from prometheus_client import CollectorRegistry

from stream.process.vital_thread import vital_thread

_EVERY_SECONDS = 60.0


class Activity:
    """What a process counted since it was last asked.

    Args:
        registry: The process's metrics.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._before: dict[str, float] = {}

    def since_last(self) -> dict[str, int]:
        """Return by how much each counter rose, of those that did: `stream_records_click` for its label `click`."""
        now = {
            "_".join((sample.name.removeprefix("millstream_").removesuffix("_total"), *sample.labels.values())): sample
            for family in self._registry.collect()
            if family.type == "counter" and family.name.startswith("millstream_")
            for sample in family.samples
            if sample.name.endswith("_total")
        }
        rises = {name: sample.value - self._before.get(name, 0.0) for name, sample in now.items()}
        self._before = {name: sample.value for name, sample in now.items()}
        return {name: round(rise) for name, rise in rises.items() if rise}


def start_minute_log(registry: CollectorRegistry) -> None:
    """Log what the process did, once a minute from a thread of its own; a line without counts says that it idled."""
    activity = Activity(registry)

    def log() -> None:
        while True:
            time.sleep(_EVERY_SECONDS)
            structlog.get_logger(__name__).info("last_minute", **activity.since_last())

    vital_thread(log, "minute-log").start()
