import json
import logging
import subprocess
import sys

import pytest

from stream.process.logs import QUIET_SECONDS, ComplaintFilter

SCRIPT = """
import logging, structlog
from stream.process.logs import configure_logging
configure_logging("joiner")
structlog.get_logger("ours").info("settled", offset=7)
logging.getLogger("theirs").warning("lost %s", "contact")
logging.getLogger("aiokafka.x").info("chatter")
try:
    1 / 0
except ZeroDivisionError:
    structlog.get_logger("ours").exception("failed")
"""


def test_our_logs_and_those_of_libraries_are_json_lines_on_stderr():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    first, second, third = map(json.loads, done.stderr.splitlines())
    assert done.stdout == ""
    assert (first["event"], first["offset"], first["process"], first["level"]) == ("settled", 7, "joiner", "info")
    assert (second["event"], second["logger"]) == ("lost contact", "theirs")
    assert "ZeroDivisionError" in third["exception"]


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def shows(clock: Clock):
    complaints = ComplaintFilter(clock)

    def shows(name: str, message: str, *arguments: object, level: int = logging.WARNING) -> bool:
        return complaints.filter(logging.LogRecord(name, level, "", 0, message, arguments, None))

    return shows


def test_a_client_complains_once_an_outage_however_often_it_tries(shows, clock: Clock):
    attempts = [
        ("kafka.net.inet", "connect to 127.0.0.1:9092 failed"),
        ("kafka.net.manager", "Connection failed: %s"),
        ("kafka.cluster", "No node available for metadata refresh - backoff/retry"),
        ("aiokafka.client", "Unable connect to node with id %s: %s"),
    ]
    shown = 0
    for _ in range(100):
        for name, message in attempts:
            clock.now += 0.02
            shown += shows(name, message, *("x",) * message.count("%s"))
    assert shown == 1


def test_the_next_outage_is_complained_of_again(shows, clock: Clock):
    assert shows("kafka.net.manager", "Connection failed: %s", "refused")
    clock.now += QUIET_SECONDS / 2
    assert not shows("kafka.net.manager", "Connection failed: %s", "refused")
    clock.now += QUIET_SECONDS + 1
    assert shows("kafka.net.manager", "Connection failed: %s", "refused")


def test_complaints_of_other_things_are_not_hidden_by_each_other(shows):
    assert shows("kafka.coordinator.consumer", "Not authorized to commit offsets for group %s", "shop")
    assert shows("kafka.coordinator.consumer", "OffsetCommit for group %s failed: %s", "shop", "timeout")
    assert not shows("kafka.coordinator.consumer", "OffsetCommit for group %s failed: %s", "shop", "again")


def test_what_others_say_is_never_held_back(shows):
    assert all(shows("stream.join.agent", "send_failed") for _ in range(3))
    assert all(shows("kafkaesque", "odd") for _ in range(3))
    assert all(shows("kafka.net.manager", "connected", level=logging.INFO) for _ in range(3))
