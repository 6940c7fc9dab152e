"""No bytes, in Kafka, on disk or over HTTP, do more than be refused: in one line, with an error that is expected."""

import ast
import random
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from scorer.live.model_slot import ModelSlot
from scorer.serving.app import create_service
from scorer.serving.metrics import ServiceMetrics
from scorer.serving.settings import ServiceSettings
from scorer.settings import ScorerSettings
from tests.contracts.hostile import DECODERS, VALUES, WHOLE, Decoder, hostile_variants
from tests.contracts.test_layout import MODULES, relative
from tests.doubles import tiny_bundle
from tests.scorer.serving.test_app import LoadedModels, connect

CASES = [pytest.param(decoder, id=decoder.name) for decoders in DECODERS.values() for decoder in decoders]
RAW = (
    "json.loads",
    "json.decode",
    "json.Decoder",
    "toml.decode",
    "tomllib.loads",
    "np.load",
    "pq.read_table",
    "pq.ParquetFile",
    "ipc.open_stream",
    "load_file",
    "safe_open",
)
"""What a module may name only if it has its decoders in the list."""

SLOW = {"a manifest", "an alias", "a config", "statistics", "tensors", "a tokenizer", "a parent's tensors"}
"""These read a whole version each time."""


ELSEWHERE = {
    "scorer/serving/app.py",  # has a test of its own below
    "stream/configuration/millstream_settings.py",  # a variable that is no JSON is a setting that pydantic refuses
    "deploy/model_listing.py",  # shows all of a manifest that the store has just read
}


def refuse(decoder: Decoder, raw: bytes, directory: Path) -> None:
    """Let the decoder have the bytes; it may take them, or refuse them as it should."""
    try:
        decoder.decode(raw, directory)
    except decoder.errors as error:
        message = str(error)
    else:
        return
    assert message
    assert "\n" not in message


@pytest.mark.parametrize("decoder", CASES)
def test_a_decoder_takes_what_is_sound(decoder, tmp_path_factory):
    sound = decoder.sound(tmp_path_factory.mktemp("sound"))
    if decoder.name != "released_root":
        decoder.decode(sound, tmp_path_factory.mktemp("read"))


@pytest.mark.parametrize("decoder", CASES)
def test_hostile_bytes_are_refused_in_one_line(decoder, tmp_path_factory):
    sound = decoder.sound(tmp_path_factory.mktemp("sound"))
    for raw in (*WHOLE, *VALUES):
        refuse(decoder, raw, tmp_path_factory.mktemp("read"))
    for seed in range(3 if decoder.name in SLOW else 20):
        for raw in hostile_variants(sound, random.Random(seed)):
            refuse(decoder, raw, tmp_path_factory.mktemp("read"))


@pytest.mark.parametrize("decoder", [case for case in CASES if case.id not in SLOW])
@settings(max_examples=20, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
@given(raw=st.binary(max_size=200))
def test_any_bytes_are_taken_or_refused(decoder, raw, tmp_path_factory):
    refuse(decoder, raw, tmp_path_factory.mktemp("read"))


async def test_a_hostile_body_is_refused_as_the_callers_fault(tmp_path):
    slot = ModelSlot(tiny_bundle(tmp_path), ScorerSettings())
    service = create_service(
        lambda: LoadedModels(slot), ServiceSettings(max_concurrent=1), ServiceMetrics(CollectorRegistry())
    )
    row = {"item_text": "red hat", "query": "hat", "history": ["a"], "position": 1, "numeric": {"price": 1.0}}
    sound = {
        "/score": msgspec.json.encode({"impressions": [row]}),
        "/rank": msgspec.json.encode({"items": [{"item_id": "a", "item_text": "b"}], "query": "q", "top": 1}),
    }
    async with connect(service) as client:
        for path, body in sound.items():
            assert (await client.post(path, content=body)).status_code == 200
            variants = [raw for seed in range(20) for raw in hostile_variants(body, random.Random(seed))]
            for raw in (*WHOLE, *VALUES, *variants):
                response = await client.post(path, content=raw)
                assert response.status_code in {200, 400, 413, 422}, raw[:200]


def test_every_module_that_decodes_is_in_the_list():
    found = {relative(path) for path in MODULES if decodes(ast.parse(path.read_text()))}
    assert found - set(DECODERS) == {*ELSEWHERE, "stream/codec.py"}


def decodes(module: ast.Module) -> bool:
    """Return whether a module turns bytes into values."""
    imported = {node.module for node in ast.walk(module) if isinstance(node, ast.ImportFrom)}
    named = [ast.unparse(node) for node in ast.walk(module) if isinstance(node, ast.Attribute | ast.Name)]
    return "stream.codec" in imported or any(name.endswith(RAW) for name in named)
