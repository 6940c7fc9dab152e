"""What answers at once loads nothing that takes its time: it is named, for times differ from machine to machine."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from scorer.registry.registry import ModelRegistry
from stream.settings import KafkaSettings
from tests.doubles import tiny_bundle

LEARNING = {"torch", "transformers", "tokenizers", "safetensors", "numpy", "scipy", "pyarrow", "river", "optuna"}
SERVING = {"faust", "aiokafka", "fastapi", "uvicorn", "prometheus_client"}
SCRIPT = """
import json, sys
from contextlib import redirect_stdout
from deploy.cli import main
status = 0
with redirect_stdout(sys.stderr):
    try:
        main()
    except SystemExit as end:
        status = end.code
print(json.dumps([status, sorted({name.partition(".")[0] for name in sys.modules})]))
"""


def loaded_by(*arguments: str, **environment: str) -> set[str]:
    """Run a command that succeeds, and return the packages it has loaded."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MILLSTREAM_")}
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *arguments],
        env=kept | environment | {"PYTHONPATH": root},
        capture_output=True,
        text=True,
        check=True,
    )
    status, modules = json.loads(done.stdout)
    assert not status, done.stderr
    return set(modules)


def test_help_needs_neither_a_setting_nor_a_client():
    slow = LEARNING | SERVING | {"kafka", "pydantic_settings", "structlog", "rich", "msgspec"}
    assert loaded_by("--help") & slow == set()
    assert loaded_by("models", "--help") & slow == set()


def test_a_list_of_versions_needs_neither_torch_nor_kafka(tmp_path: Path):
    registry = ModelRegistry(tmp_path / "registry")
    registry.publish(tiny_bundle(tmp_path / "tokenizer"), created_ms=1)
    assert loaded_by("models", "list", MILLSTREAM_HOME=str(tmp_path)) & (LEARNING | SERVING | {"kafka"}) == set()


@pytest.mark.kafka
def test_a_look_at_the_cluster_needs_its_client_alone(kafka: KafkaSettings, tmp_path: Path):
    settings = {"MILLSTREAM_HOME": str(tmp_path), "MILLSTREAM_KAFKA_BOOTSTRAP": kafka.bootstrap}
    settings |= {"MILLSTREAM_KAFKA_TOPIC_PREFIX": kafka.topic_prefix, "MILLSTREAM_KAFKA_PARTITIONS": "2"}
    for command in ("apply", "check"):
        loaded = loaded_by("topics", command, **settings)
        assert loaded & (LEARNING | SERVING | {"structlog", "rich", "msgspec"}) == set()
        assert "kafka" in loaded
