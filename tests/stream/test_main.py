import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("arguments", "settings", "message"),
    [
        (["bogus"], {}, "unknown process 'bogus'"),
        ([], {"MILLSTREAM_JOIN_WINDOW_SECONDS": "0"}, "MILLSTREAM_JOIN_WINDOW_SECONDS"),
        ([], {"MILLSTREAM_KAFKA_BOOTSTRAP": "127.0.0.1:1"}, "no Kafka answers at 127.0.0.1:1"),
        (["adapter"], {"MILLSTREAM_ADAPTER_MAPPING": "none.toml"}, "MILLSTREAM_ADAPTER_MAPPING"),
    ],
)
def test_a_configuration_error_is_one_line_and_a_failure(arguments, settings, message):
    done = subprocess.run(
        [sys.executable, "-m", "stream", *arguments],
        env=os.environ | settings,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1
    lines = [line for line in done.stderr.splitlines() if not line.startswith("{")]
    assert len(lines) == 1
    assert message in lines[0]
