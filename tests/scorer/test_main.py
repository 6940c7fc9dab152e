import os
import subprocess
import sys
from pathlib import Path

import pytest

from scorer.__main__ import main
from stream.disk.directory_lock import directory_lock


def test_an_unknown_process_is_refused_with_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["evaluate"])
    assert ended.value.code == 2
    assert "`evaluator` or `serve`" in capsys.readouterr().err


def test_a_wrong_setting_ends_the_process_with_its_name_and_no_traceback() -> None:
    environment = os.environ | {"MILLSTREAM_EVALUATOR_MIN_ROWS": "none", "MILLSTREAM_METRICS_PORT": "0"}
    command = [sys.executable, "-m", "scorer", "evaluator"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("evaluator: MILLSTREAM_EVALUATOR_MIN_ROWS='none': ")
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr


def test_a_second_evaluator_on_one_snapshot_is_told_which_setting_to_change(tmp_path: Path) -> None:
    environment = os.environ | {"MILLSTREAM_HOME": str(tmp_path), "MILLSTREAM_METRICS_PORT": "0"}
    command = [sys.executable, "-m", "scorer", "evaluator"]
    with directory_lock(tmp_path / "evaluator", "wait"):
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "stop the other evaluator, or set MILLSTREAM_EVALUATOR_DIRECTORY" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_evaluator_loads_neither_torch_nor_faust() -> None:
    code = "import sys, scorer.__main__, scorer.evaluator.process; print({'torch', 'faust'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
