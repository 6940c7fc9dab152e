"""Without a broker every command that needs one says so at once, in one line, before it loads anything slow."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.local_kafka.broker import free_port

COMMANDS = [
    ["topics", "apply"],
    ["topics", "check"],
    ["topics", "check", "--json"],
    ["simulate", "--limit", "5"],
    ["replay", "log.jsonl"],
    ["audit"],
    ["audit", "--json"],
    ["models", "init"],
    ["models", "announce"],
    ["models", "warm-start", "log.jsonl"],
    ["models", "announce"],
    ["models", "rollback"],
    ["models", "resume"],
    ["trainer", "pause"],
    ["trainer", "resume"],
    ["trainer", "skip-lost"],
    ["trainer", "run"],
    ["stream"],
    ["adapter"],
    ["scorer"],
    ["evaluator"],
    ["serve"],
    ["demo"],
]

SCRIPT = """
import io, json, sys, time
from contextlib import redirect_stderr
from deploy.cli import main
results = []
for arguments in json.loads(sys.argv[1]):
    sys.argv = ["millstream", *arguments]
    told, started, status = io.StringIO(), time.monotonic(), 0
    with redirect_stderr(told):
        try:
            main()
        except SystemExit as end:
            status = end.code
    results.append([arguments, status, told.getvalue(), time.monotonic() - started])
print(json.dumps([results, sorted({"torch", "transformers"} & set(sys.modules))]))
"""

AN_IMPRESSION = '{"ts": 1700000000, "label": 0, "item": "a lamp"}\n'

A_MAPPING = """
[[source]]
topic = "views"
event = "impression"
time_unit = "ms"
[source.fields]
impression_id = "id"
event_time_ms = "at"
item_id = "item"
item_text = "title"
"""


def run_all(directory: Path, bootstrap: str, commands: list[list[str]]) -> tuple[list[list], list[str]]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MILLSTREAM_")}
    (directory / "log.jsonl").write_text(AN_IMPRESSION)
    (directory / "mapping.toml").write_text(A_MAPPING)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(commands)],
        env=kept
        | {"MILLSTREAM_HOME": str(directory / "home"), "MILLSTREAM_KAFKA_BOOTSTRAP": bootstrap}
        | {"PYTHONPATH": str(Path(__file__).parents[2])},
        cwd=directory,
        capture_output=True,
        text=True,
        check=True,
    )
    results, slow = json.loads(done.stdout)
    return results, slow


def test_every_command_says_in_one_line_that_no_kafka_answers(tmp_path: Path):
    results, slow = run_all(tmp_path, f"127.0.0.1:{free_port()}", COMMANDS)

    assert [arguments for arguments, *_ in results] == COMMANDS
    for arguments, status, told, seconds in results:
        assert status == 2, (arguments, told)
        assert told.count("\n") == 1, (arguments, told)
        assert "no Kafka answers at" in told
        assert "millstream kafka up" in told
        assert seconds < 15, arguments  # it is a fraction of a second; retries would take half a minute
    assert slow == []


@pytest.mark.parametrize("bootstrap", ["nobody.invalid:9092", "127.0.0.1:1,nobody.invalid:9092", "[::1]:1"])
def test_an_address_that_nobody_has_is_told_alike(tmp_path: Path, bootstrap: str):
    [[_, status, told, _]], _ = run_all(tmp_path, bootstrap, [["topics", "check"]])

    assert status == 2
    assert f"no Kafka answers at {bootstrap}" in told


def test_something_that_is_no_kafka_is_one_line(tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        bootstrap = f"127.0.0.1:{silent.getsockname()[1]}"
        [[_, status, told, _]], _ = run_all(tmp_path, bootstrap, [["topics", "check"]])

    assert status == 2
    assert bootstrap in told
    assert told.count("\n") == 1
