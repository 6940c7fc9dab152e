import os
import subprocess
import sys

import pytest

from stream.disk.directory_lock import directory_lock


@pytest.mark.parametrize(
    ("arguments", "settings", "message"),
    [
        (["bogus"], {}, "unknown process 'bogus'"),
        ([], {"MILLSTREAM_JOIN_WINDOW_SECONDS": "0"}, "MILLSTREAM_JOIN_WINDOW_SECONDS"),
        (["adapter"], {"MILLSTREAM_JOIN_WINDOW": "5"}, "do you mean MILLSTREAM_JOIN_WINDOW_SECONDS?"),
        ([], {"MILLSTREAM_KAFKA_BOOTSTRAP": "127.0.0.1:1"}, "no Kafka answers at 127.0.0.1:1"),
    ],
)
def test_a_configuration_error_is_one_line_and_a_failure(arguments, settings, message, tmp_path):
    assert message in refusal_of(*arguments, home=tmp_path, **settings)


def test_a_second_worker_of_one_instance_is_told_to_name_its_own(tmp_path):
    with directory_lock(tmp_path / "faust" / "shop.stream-a", "wait"):
        told = refusal_of(home=tmp_path, MILLSTREAM_KAFKA_TOPIC_PREFIX="shop.", MILLSTREAM_JOIN_INSTANCE="a")
    assert "a second stream worker needs a MILLSTREAM_JOIN_INSTANCE of its own, not 'a'" in told


def refusal_of(*arguments, home, **settings):
    """Return the one line that the process says when it ends at once."""
    done = subprocess.run(
        [sys.executable, "-m", "stream", *arguments],
        env=os.environ | {"MILLSTREAM_HOME": str(home)} | settings,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 2
    lines = [line for line in done.stderr.splitlines() if not line.startswith("{")]
    assert len(lines) == 1
    return lines[0]
