import subprocess
import sys
from pathlib import Path

import pytest

from deploy.local_kafka.broker import free_port

ROOT = Path(__file__).parents[3]
COMMANDS = (["stream"], ["evaluator"], ["trainer", "run"])


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_file_of_the_current_directory_is_never_run_instead_of_a_process(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for name in ("stream", "scorer", "trainer", "deploy", "kafka", "signal", "types"):
        (tmp_path / f"{name}.py").write_text(f"raise SystemExit('this is {name}.py')\n")
    monkeypatch.setenv("MILLSTREAM_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MILLSTREAM_KAFKA_BOOTSTRAP", f"127.0.0.1:{free_port()}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    millstream = tmp_path / "bin" / "millstream"  # as an installer writes it: its own directory is first on the path
    millstream.parent.mkdir()
    millstream.write_text("from deploy.cli import main\nmain()\n")

    done = subprocess.run(
        [sys.executable, millstream, *command], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert "no Kafka answers" in done.stderr
    assert done.returncode == 2
