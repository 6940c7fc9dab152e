import os
import subprocess
import sys
from pathlib import Path

import pytest

import deploy
from deploy.safe_path import safe_environment

OURS = Path(deploy.__file__).parent


def run(code: list[str], directory: Path, environment: dict[str, str]) -> str:
    # -S: without the site's packages, as in a clone that is not installed.
    command = [sys.executable, "-S", *code]
    done = subprocess.run(
        command, cwd=directory, env=os.environ | environment, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.mark.parametrize("code", [["-c", "import deploy; print(deploy.__file__)"], ["-m", "deploy.safe_path"]])
def test_a_child_finds_our_code_and_none_of_its_directory(tmp_path: Path, code: list[str]):
    (tmp_path / "deploy.py").write_text("print('not ours')\n")
    said = run(code, tmp_path, safe_environment())
    assert said in {"", str(OURS / "__init__.py")}


def test_a_path_that_was_set_stays_behind_ours(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PYTHONPATH", f"/theirs{os.pathsep}")
    assert safe_environment()["PYTHONPATH"] == f"{OURS.parent}{os.pathsep}/theirs"
