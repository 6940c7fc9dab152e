import json
import subprocess
import sys

SCRIPT = """
import logging, structlog
from stream.logs import configure_logging
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
