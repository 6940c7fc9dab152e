import os
import subprocess
import sys

import pytest

from scorer.__main__ import main


def test_an_unknown_process_is_refused_with_the_known_ones() -> None:
    with pytest.raises(SystemExit, match="`evaluator` or `serve`"):
        main(["evaluate"])


def test_a_wrong_setting_ends_the_process_with_its_name_and_no_traceback() -> None:
    environment = os.environ | {"MILLSTREAM_EVALUATOR_MIN_ROWS": "none", "MILLSTREAM_METRICS_PORT": "0"}
    command = [sys.executable, "-m", "scorer", "evaluator"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "min_rows" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_evaluator_loads_neither_torch_nor_faust() -> None:
    code = "import sys, scorer.__main__, scorer.evaluator; print({'torch', 'faust'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
