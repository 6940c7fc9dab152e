import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from deploy.local_kafka.broker import free_port
from scorer.registry.registry import ModelRegistry
from stream.settings import KafkaSettings
from tests.doubles import TINY_LINE, tiny_bundle
from tests.scorer.processes import ScorerProcess, publish, wait_until

pytestmark = pytest.mark.kafka


def ask(port: int, path: str, body: object = None) -> tuple[int, dict[str, Any]]:
    """Return status and JSON of a response; status 0 while nothing listens."""
    data = None if body is None else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", data, timeout=60) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)
    except OSError:
        return 0, {}


def test_the_service_answers_with_each_new_champion_and_ends_cleanly(kafka: KafkaSettings, tmp_path: Path) -> None:
    registry = ModelRegistry(tmp_path / "registry")
    port = free_port()
    body = {"impressions": [{"item_text": "red hat"}]}
    with ScorerProcess(kafka, tmp_path, "serve", MILLSTREAM_SERVICE_PORT=str(port)) as process:
        wait_until(lambda: ask(port, "/healthz")[0] == 200, "the service to answer")
        assert ask(port, "/score", body)[0] == 503
        for number in (0, 1):
            version = f"{TINY_LINE}-{number:06d}"
            publish(kafka, registry, tiny_bundle(tmp_path / "tokenizer", number=number), "champion")
            wait_until(lambda wanted=version: ask(port, "/readyz")[1].get("version") == wanted, version)
            assert ask(port, "/score", body)[1]["version"] == version
        assert process.metric("millstream_service_swaps_total", result="switched") == 1
        assert process.terminate() == 0
