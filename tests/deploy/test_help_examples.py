"""The examples that --help shows are commands that work: all are parsed, and those that need no cluster are run."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from stream.configuration.setting_names import check_settings
from tests.contracts.test_readme import find_command
from tests.deploy.test_cli import ALL


def examples() -> Iterator[tuple[dict[str, str], list[str]]]:
    """Yield settings and arguments of every `millstream ...` in the examples of every command."""
    for command in ALL.values():
        for line in re.findall(r"Example: (.*)", command.help):
            for part in re.split(r"&&|\|\|", line):
                words = shlex.split(part)
                at = words.index("millstream")
                yield dict(word.split("=", 1) for word in words[:at]), words[at + 1 :]


EXAMPLES = list(examples())
ALONE = [
    arguments
    for _, arguments in EXAMPLES
    if arguments[0] in {"config"} or "--write-past" in arguments or arguments == ["kafka", "down"]
]
"""Those that need neither a cluster nor a file that is not there."""


@pytest.mark.parametrize(("settings", "arguments"), EXAMPLES, ids=" ".join)
def test_an_example_is_parsed_by_the_command_it_shows(
    settings: dict[str, str], arguments: list[str], monkeypatch: pytest.MonkeyPatch
):
    command, words = find_command(arguments)
    command.make_context(command.name, words)
    for name, value in settings.items():
        if name != "MILLSTREAM_CONFIG":
            monkeypatch.setenv(name, value)
    check_settings()


def test_examples_that_need_no_cluster_work(tmp_path: Path):
    assert len(ALONE) >= 4
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MILLSTREAM_")}
    root = str(Path(__file__).parents[2])
    for arguments in ALONE:
        done = subprocess.run(
            [sys.executable, "-m", "deploy", *arguments],
            env=kept | {"MILLSTREAM_HOME": str(tmp_path / "home"), "PYTHONPATH": root},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, (arguments, done.stderr)
