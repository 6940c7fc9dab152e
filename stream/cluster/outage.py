"""A broker that does not answer for a while: waited out, with one line when it goes and one when it is back."""

import time
from collections.abc import Callable
from typing import TypeVar

import structlog
from kafka.errors import KafkaError

Result = TypeVar("Result")

RETRY_SECONDS = 1.0


class Outage:
    """What a process on kafka-python does where Faust's workers go on by themselves.

    Args:
        stop: Whether the process was asked to stop.
        wait: Waits so many seconds; may return early when asked to stop.
        clock: Seconds, monotonic.
    """

    def __init__(
        self,
        stop: Callable[[], bool],
        wait: Callable[[float], object] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stop = stop
        self._wait = wait
        self._clock = clock
        self._since: float | None = None

    def through(self, call: Callable[[], Result]) -> Result:
        """Return what a call returns that may be repeated, trying again for as long as Kafka does not answer it.

        Raises:
            KafkaError: one that does not pass by itself; or Kafka does not answer and the process was asked to stop.
        """
        log = structlog.get_logger(__name__)
        while True:
            try:
                result = call()
            except KafkaError as error:
                if not error.retriable or self._stop():
                    raise
                if self._since is None:
                    self._since = self._clock()
                    log.warning("kafka_unreachable", message=str(error), retry_seconds=RETRY_SECONDS)
                self._wait(RETRY_SECONDS)
                continue
            if self._since is not None:
                log.info("kafka_answers_again", seconds=round(self._clock() - self._since, 1))
                self._since = None
            return result
