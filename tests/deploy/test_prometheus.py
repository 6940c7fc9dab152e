import re
import shutil
import subprocess
from pathlib import Path

import pytest

from deploy.doctor import DEFAULT_PORTS

CONFIG = Path(__file__).parents[2] / "deploy" / "prometheus" / "prometheus.yml"


def test_every_process_is_scraped_at_its_default_port():
    targets = re.findall(r'targets: \["127\.0\.0\.1:(\d+)"\]\n\s+labels: \{process: (\w+)\}', CONFIG.read_text())

    expected = {name: port for name, port in DEFAULT_PORTS.items() if name != "service"}
    expected["service"] = expected.pop("service metrics")
    assert {name: int(port) for port, name in targets} == expected


def test_promtool_accepts_the_configuration():
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed: apt-get install prometheus")

    done = subprocess.run(["promtool", "check", "config", CONFIG], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
