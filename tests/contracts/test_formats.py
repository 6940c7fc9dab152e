"""Tables of the folders' READMEs are as the code has them; `python tests/contracts/test_formats.py` rewrites them."""

import json
import re
from functools import partial
from pathlib import Path

import pytest
from msgspec import Struct, inspect
from prometheus_client import CollectorRegistry

from deploy.doctor import DEFAULT_PORTS
from scorer.live.model_slot import ModelSlot
from scorer.serving.app import create_service
from scorer.serving.messages import RankItem, RankRequest, ScoreRow
from scorer.serving.metrics import ServiceMetrics
from scorer.serving.settings import ServiceSettings
from scorer.settings import ScorerSettings
from stream.configuration.ports import KAFKA_PORT
from stream.disk.state_home import OWNERS
from stream.events import Click, Impression, decode_event, encode
from tests.contracts.test_layout import ROOT
from tests.contracts.test_readme import block, metrics_table, settings_table, table
from tests.doubles import tiny_bundle
from tests.scorer.serving.test_app import LoadedModels, connect

HEAD = ("field", "type", "required", "what it is")
SETTINGS = {"service": "`MILLSTREAM_SERVICE_PORT`", "Kafka": "`millstream kafka up --port`"}


def fields_table(kind: type[Struct]) -> str:
    info = inspect.type_info(kind)
    assert isinstance(info, inspect.StructType)
    told = attributes(kind)
    rows = [(f"`{info.tag_field}`", f"`{info.tag}`", "yes", "What it is.")] if info.tag_field else []
    for field in info.fields:
        default = "" if field.required or field.default in (None, "", inspect.NODEFAULT) else shown(field.default)
        meaning = told[field.encode_name] + (f" Default {default}." if default else "")
        rows.append((f"`{field.encode_name}`", in_words(field.type), "yes" if field.required else "no", meaning))
    return table(HEAD, [row for row in rows if row[1] != "anything"])


def shown(default: object) -> str:
    return "" if default in ((), {}) else f"`{json.dumps(default)}`"


def attributes(kind: type[Struct]) -> dict[str, str]:
    """Return what the docstring says of each field."""
    _, _, described = (kind.__doc__ or "").partition("Attributes:\n")
    found: dict[str, str] = {}
    name = ""
    for line in described.splitlines():
        if match := re.match(r"        (\w[\w, ]*): (.*)", line):
            name, found[match[1]] = match[1], match[2]
        elif line.strip():
            found[name] += f" {line.strip()}"
    return {name: meaning for names, meaning in found.items() for name in names.split(", ")}


def in_words(kind: inspect.Type) -> str:
    return WORDS[type(kind)](kind)


def text_of_length(kind: inspect.StrType) -> str:
    if kind.max_length is None:
        return "text"
    low = f"{kind.min_length} to" if kind.min_length else "at most"
    return f"text of {low} {kind.max_length} characters"


def integer(kind: inspect.IntType) -> str:
    low = kind.ge if kind.gt is None else kind.gt + 1
    high = kind.le if kind.lt is None else kind.lt - 1
    return " ".join(["integer", *([f"from {low}"] * (low is not None)), *([f"to {high}"] * (high is not None))])


def struct(kind: inspect.StructType) -> str:
    return "object with " + " and ".join(f"`{field.encode_name}` ({in_words(field.type)})" for field in kind.fields)


def several(kind: inspect.VarTupleType) -> str:
    return "list of objects" if isinstance(kind.item_type, inspect.StructType) else f"list: {in_words(kind.item_type)}"


WORDS = {
    inspect.StrType: text_of_length,
    inspect.IntType: integer,
    inspect.FloatType: lambda _: "number",
    inspect.NoneType: lambda _: "null",
    inspect.AnyType: lambda _: "anything",
    inspect.LiteralType: lambda kind: "one of " + ", ".join(f"`{value}`" for value in sorted(kind.values)),
    inspect.VarTupleType: several,
    inspect.DictType: lambda kind: f"object of name: {in_words(kind.value_type)}",
    inspect.UnionType: lambda kind: " or ".join(sorted(map(in_words, kind.types), key="null".__eq__)),
    inspect.StructType: struct,
    inspect.Metadata: lambda kind: in_words(kind.type),
}


def ports_table() -> str:
    rows = [
        (name, str(port), SETTINGS.get(name, "`MILLSTREAM_METRICS_PORT`"))
        for name, port in {**DEFAULT_PORTS, "Kafka": KAFKA_PORT}.items()
    ]
    return table(("process", "port", "set by"), rows)


def state_table() -> str:
    return table(("directory", "who keeps what there"), [(f"`{name}`", told) for name, told in OWNERS.items()])


BLOCKS = {
    ("stream", "impression"): lambda: fields_table(Impression),
    ("stream", "click"): lambda: fields_table(Click),
    ("scorer", "score"): lambda: fields_table(ScoreRow),
    ("scorer", "rank"): lambda: fields_table(RankRequest),
    ("scorer", "item"): lambda: fields_table(RankItem),
    ("deploy", "ports"): ports_table,
    ("deploy", "state"): state_table,
}
for package in ("stream", "scorer", "trainer"):
    BLOCKS[package, "settings"] = partial(settings_table, package)
    BLOCKS[package, "metrics"] = partial(metrics_table, package)


def page(folder: str) -> Path:
    return ROOT / folder / "README.md"


def rewrite() -> None:
    for (folder, name), make in BLOCKS.items():
        made = f"\n{make()}\n\n"
        rewritten, count = block(name).subn(lambda _, made=made: made, page(folder).read_text())
        assert count == 1, name
        page(folder).write_text(rewritten)


def examples(folder: str, fence: str) -> list[str]:
    return re.findall(rf"^```{fence}\n(.*?)^```", page(folder).read_text(), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(("folder", "name"), BLOCKS)
def test_a_table_is_what_the_code_has(folder: str, name: str):
    found = block(name).findall(page(folder).read_text())
    assert found == [f"\n{BLOCKS[folder, name]()}\n\n"], "run `python tests/contracts/test_formats.py` to write it anew"


@pytest.mark.parametrize("shown", examples("stream", "json"))
def test_an_event_shown_is_one_and_has_no_field_that_nobody_reads(shown):
    read = json.loads(encode(decode_event(shown.encode())))
    assert {name: read.get(name) for name in json.loads(shown)} == json.loads(shown)


async def test_every_request_shown_is_answered(tmp_path):
    slot = ModelSlot(tiny_bundle(tmp_path), ScorerSettings())
    service_app = create_service(lambda: LoadedModels(slot), ServiceSettings(), ServiceMetrics(CollectorRegistry()))
    requests = re.findall(r"curl -s http://[\d.]+:(\d+)(/\w+) .*? -d '(.*?)'", page("scorer").read_text(), re.DOTALL)
    assert [(port, path) for port, path, _ in requests] == [("8080", "/score"), ("8080", "/rank")]
    async with connect(service_app) as client:
        for _, path, body in requests:
            response = await client.post(path, content=body)
            assert response.status_code == 200, response.text


if __name__ == "__main__":
    rewrite()
