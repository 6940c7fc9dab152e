"""The Prometheus configuration and the metrics are held to Prometheus's own tools."""

import json
import re
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import generate_latest

from deploy.local_kafka.broker import free_port
from stream.configuration.ports import METRICS_PORTS
from tests.contracts.test_readme import METRICS, shown_by

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "deploy" / "prometheus" / "prometheus.yml"
PATIENCE_SECONDS = 120.0

PROCESS = """
import sys, time
from importlib import import_module
from stream.process.exposition import process_registry, serve_metrics
from stream.settings import MetricsSettings
module, name, port = sys.argv[1:]
registry = process_registry()
getattr(import_module(module), name)(registry)
serve_metrics("stream", MetricsSettings(port=port), registry)
time.sleep(600)
"""
"""A process that shows the metrics of one of ours, and does nothing else."""


def need(program: str) -> str:
    path = shutil.which(program)
    if path is None:
        pytest.skip(f"{program} is not installed")
    return path


def wait_for(look: Callable[[], Any], what: str) -> Any:
    """Return the first result that is not empty."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        if found := look():
            return found
        time.sleep(0.1)
    pytest.fail(f"no {what} within {PATIENCE_SECONDS:.0f} s")


def read(url: str) -> str:
    """Return a page, or nothing while nobody answers."""
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return response.read().decode()
    except (urllib.error.URLError, OSError):
        return ""


@pytest.fixture
def start() -> Iterator[Callable[..., None]]:
    """Starts programs, and ends exactly those."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*arguments: str, log: Path) -> None:
        with log.open("wb") as output:
            started.append(subprocess.Popen(arguments, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT))

    yield start
    for process in started:
        process.terminate()
    for process in started:
        process.wait(PATIENCE_SECONDS)


@pytest.fixture
def processes(start: Callable[..., None], tmp_path: Path) -> dict[str, str]:
    """Addresses of two processes that show the real metrics of the label join and of the shop."""
    found = {}
    for process, module, name in (
        ("stream", "stream.join.metrics", "JoinMetrics"),
        ("shop", "stream.play.metrics", "ShopMetrics"),
    ):
        port = free_port()
        start(sys.executable, "-c", PROCESS, module, name, str(port), log=tmp_path / f"{process}.log")
        found[process] = f"127.0.0.1:{port}"
    for address in found.values():
        wait_for(lambda address=address: read(f"http://{address}/metrics"), f"metrics of {address}")
    return found


def test_every_process_is_scraped_at_its_default_port():
    targets = re.findall(r'targets: \["127\.0\.0\.1:(\d+)"\]\s+labels: \{process: (\w+)\}', CONFIG.read_text())
    assert {process: int(port) for port, process in targets} == METRICS_PORTS


def test_no_two_processes_have_the_same_default_port():
    assert len(set(METRICS_PORTS.values())) == len(METRICS_PORTS)


def test_promtool_accepts_the_configuration():
    subprocess.run([need("promtool"), "check", "config", str(CONFIG)], check=True, capture_output=True)


@pytest.mark.parametrize("process", METRICS)
def test_promtool_finds_nothing_wrong_with_the_metrics(process: str):
    page = generate_latest(shown_by(process))
    checked = subprocess.run([need("promtool"), "check", "metrics"], input=page, capture_output=True, check=False)
    # To promtool _count belongs to histograms; to us it is the unit of what is only counted.
    assert [line for line in checked.stderr.decode().splitlines() if '"_count" suffix' not in line] == []


def test_a_real_prometheus_scrapes_the_processes_and_answers_promql(
    processes: dict[str, str], start: Callable[..., None], tmp_path: Path
):
    prometheus = need("prometheus")
    text = CONFIG.read_text().replace("_interval: 5s", "_interval: 1s")
    for process, address in processes.items():
        text = text.replace(f"127.0.0.1:{METRICS_PORTS[process]}", address)
    config = tmp_path / "prometheus.yml"
    config.write_text(text)
    address = f"127.0.0.1:{free_port()}"
    start(
        prometheus,
        f"--config.file={config}",
        f"--storage.tsdb.path={tmp_path / 'data'}",
        f"--web.listen-address={address}",
        log=tmp_path / "prometheus.log",
    )

    def ask(query: str) -> list[dict]:
        answer = read(f"http://{address}/api/v1/query?{urllib.parse.urlencode({'query': query})}")
        return json.loads(answer)["data"]["result"] if answer else []

    up = wait_for(lambda: ask('up{process=~"stream|shop"} == 1')[1:] and ask("up == 1"), "scrape of both processes")
    assert {sample["metric"]["process"] for sample in up} == {"stream", "shop"}
    labels = ask("sum by (process) (millstream_stream_labels_total)")
    assert [(sample["metric"], sample["value"][1]) for sample in labels] == [({"process": "stream"}, "0")]
    assert ask("millstream_shop_impressions_total")[0]["value"][1] == "0"
