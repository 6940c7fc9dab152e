import os
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import typer.main

from deploy.cli import app
from deploy.local_kafka.broker import free_port

COMMANDS = {
    *(f"kafka {name}" for name in ("up", "down", "status")),
    *(f"topics {name}" for name in ("apply", "check")),
    *(f"trainer {name}" for name in ("run", "pause", "resume", "skip-lost")),
    *(
        f"models {name}"
        for name in ("init", "warm-start", "list", "show", "verify", "announce", "rollback", "resume", "prune")
    ),
    *("doctor", "config", "stream", "adapter", "scorer", "evaluator", "serve", "simulate", "replay"),
    *("audit", "demo", "backtest", "tune"),
}


def commands(group: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}", command


ALL = dict(commands(typer.main.get_command(app)))


def millstream(*arguments: str, home: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MILLSTREAM_")}
    return subprocess.run(
        [sys.executable, "-m", "deploy", *arguments],
        env=kept | {"MILLSTREAM_HOME": str(home), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_these_are_the_commands():
    assert set(ALL) == COMMANDS


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_has_help_with_an_example_of_itself(name: str):
    text = ALL[name].help

    assert text.split("\n")[0].strip().endswith(".")
    assert "Example: " in text
    assert f"millstream {name}" in text


def test_every_option_has_help():
    for name, command in ALL.items():
        for parameter in command.params:
            assert parameter.name == "help" or parameter.help, f"{name} {parameter.name}"


def test_a_wrong_setting_is_one_line_that_names_it_and_its_value(tmp_path: Path):
    done = millstream("topics", "apply", home=tmp_path, MILLSTREAM_KAFKA_PARTITIONS="none")

    assert done.returncode == 2
    assert done.stderr.startswith("millstream: MILLSTREAM_KAFKA_PARTITIONS='none': ")
    assert done.stderr.count("\n") == 1


def test_no_broker_is_one_line_with_the_remedy(tmp_path: Path):
    done = millstream("topics", "check", home=tmp_path, MILLSTREAM_KAFKA_BOOTSTRAP=f"127.0.0.1:{free_port()}")

    assert done.returncode == 2
    assert "millstream kafka up" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_settings_file_that_is_missing_is_one_line(tmp_path: Path):
    done = millstream("topics", "check", home=tmp_path, MILLSTREAM_CONFIG=str(tmp_path / "absent.toml"))

    assert done.returncode == 2
    assert "absent.toml is not a file" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_log_that_is_missing_is_one_line(tmp_path: Path):
    done = millstream("replay", str(tmp_path / "absent.jsonl"), home=tmp_path)

    assert done.returncode == 2
    assert "absent.jsonl is not a file" in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_version_is_told(tmp_path: Path):
    done = millstream("--version", home=tmp_path)

    assert done.returncode == 0
    assert done.stdout == f"millstream {metadata.version('millstream')}\n"


def test_a_misspelt_variable_stops_a_command_and_not_its_help(tmp_path: Path):
    done = millstream("topics", "check", home=tmp_path, MILLSTREAM_JOIN_WINDOW="5")

    assert done.returncode == 2
    assert done.stderr == (
        "millstream: MILLSTREAM_JOIN_WINDOW is no setting; do you mean MILLSTREAM_JOIN_WINDOW_SECONDS?\n"
    )
    assert millstream("topics", "--help", home=tmp_path, MILLSTREAM_JOIN_WINDOW="5").returncode == 0
