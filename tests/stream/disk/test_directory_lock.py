import subprocess
import sys
from pathlib import Path

import pytest

from stream.disk.directory_lock import DirectoryBusyError, directory_lock

HOLD = """
import sys
from pathlib import Path
from stream.disk.directory_lock import directory_lock
with directory_lock(Path(sys.argv[1]), "wait"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_directory_is_held_by_one_and_the_other_is_told_what_to_do(tmp_path: Path):
    busy = pytest.raises(DirectoryBusyError, match=r"another process is using .*state; set THIS")
    with directory_lock(tmp_path / "state", "stop it"), busy, directory_lock(tmp_path / "state", "set THIS"):
        pass
    with directory_lock(tmp_path / "state", "stop it"):
        pass


def test_death_gives_a_directory_back(tmp_path: Path):
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(DirectoryBusyError), directory_lock(tmp_path, "wait"):
            pass
        holder.kill()
        holder.wait()
    with directory_lock(tmp_path, "wait"):
        pass
