"""Structured logs: one JSON object a line on stderr, ours and our libraries' alike."""

import logging.config
import time
from collections.abc import Callable
from typing import Any

import structlog

QUIET_SECONDS = 60.0
"""A Kafka client that has not complained of something for so long may do so again."""

_CONNECTION = ("kafka.net", "kafka.cluster", "kafka.client", "aiokafka.conn", "aiokafka.client", "aiokafka.cluster")


class ComplaintFilter(logging.Filter):
    """Lets a complaint of a Kafka client through once an outage: they repeat each many times a second.

    All trouble with connections is one complaint; of the rest, each text of each logger is one.

    Args:
        clock: Seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._last: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether to show a record."""
        if record.levelno < logging.WARNING or record.name.split(".")[0] not in {"kafka", "aiokafka"}:
            return True
        # A text without arguments may hold an address or a number; its logger must do then.
        text = str(record.msg) if record.args else ""
        complaint = "connection" if record.name.startswith(_CONNECTION) else f"{record.name} {text}"
        now = self._clock()
        last = self._last.get(complaint)
        self._last[complaint] = now
        return last is None or now - last > QUIET_SECONDS


def logging_config(process: str, level: str = "INFO") -> dict[str, Any]:
    """Return the configuration that `logging.config.dictConfig` and Faust's worker take."""

    def add_process(_logger: Any, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        event["process"] = process
        return event

    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        add_process,
    ]
    formatter = {
        "()": structlog.stdlib.ProcessorFormatter,
        "processors": [
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.JSONRenderer(sort_keys=True),
        ],
        "foreign_pre_chain": shared,
    }
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"json": formatter},
        "filters": {"complaints": {"()": ComplaintFilter}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json", "filters": ["complaints"]}},
        "root": {"handlers": ["stderr"], "level": level},
        # Both log every connection and every coordinator hiccup at INFO.
        "loggers": {"aiokafka": {"level": "WARNING"}, "kafka": {"level": "WARNING"}},
    }


def configure_logging(process: str, level: str = "INFO") -> None:
    """Send this process's logs, structlog's and the standard library's, to stderr as JSON lines."""
    config = logging_config(process, level)
    logging.config.dictConfig(config)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *config["formatters"]["json"]["foreign_pre_chain"],
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
