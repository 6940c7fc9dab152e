import json
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from deploy.model_listing import manifest_json, print_versions, versions_json
from scorer.registry.registry import ModelRegistry
from stream.events import GateResult
from tests.doubles import tiny_bundle

EARLIER, LATER = "ffffffff-000000", "00000000-000001"
"""Names do not say which line came first."""

GATE = GateResult(decision="promote", reason="no_evidence_of_harm", auc_live=0.71, auc_candidate=0.7234)


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelRegistry:
    monkeypatch.setenv("MILLSTREAM_HOME", str(tmp_path))
    registry = ModelRegistry(tmp_path / "registry")
    for version, created_ms in ((LATER, 1_700_000_002_000), (EARLIER, 1_700_000_001_000)):
        bundle = tiny_bundle(tmp_path / "tokenizer")
        object.__setattr__(bundle, "version", version)
        registry.publish(bundle, created_ms=created_ms, parent=None, gate=GATE)
    registry.set_alias("champion", LATER)
    return registry


def printed() -> list[str]:
    output = StringIO()
    print_versions(Console(file=output, width=80))
    return output.getvalue().splitlines()


@pytest.mark.usefixtures("registry")
def test_versions_are_listed_in_the_order_in_which_they_were_published():
    assert [line.split()[0] for line in printed()] == ["version", EARLIER, LATER]
    assert [entry["version"] for entry in json.loads(versions_json())["versions"]] == [EARLIER, LATER]


@pytest.mark.usefixtures("registry")
def test_a_line_is_never_broken_however_narrow_the_output():
    for line in printed()[1:]:
        assert "promote: no_evidence_of_harm" in line
        assert "0.7100 → 0.7234" in line


def test_a_damaged_version_is_listed_as_damaged(registry: ModelRegistry):
    for damage in (b'{"version": "', b"\xff\xfe", b"[" * 5_000, b""):
        (registry.path(EARLIER) / "manifest.json").write_bytes(damage)
        assert ["DAMAGED" in line for line in sorted(printed()) if line.startswith(EARLIER)] == [True]
        entry = next(one for one in json.loads(versions_json())["versions"] if one["version"] == EARLIER)
        assert "manifest.json cannot be read" in entry["problem"]


def test_a_stray_file_or_directory_breaks_no_list(registry: ModelRegistry):
    (registry.root / "0123abcd-000009").mkdir()
    (registry.root / "0123abcd-000010").write_text("no directory")
    (registry.root / "lost+found").mkdir()
    (registry.root / "aliases" / "previous").write_bytes(b"\xff")
    listed = {entry["version"]: entry["problem"] for entry in json.loads(versions_json())["versions"]}
    assert set(listed) == {EARLIER, LATER, "0123abcd-000009"}
    assert "manifest.json is missing" in listed["0123abcd-000009"]


@pytest.mark.usefixtures("registry")
def test_the_json_list_says_what_points_where_and_why_a_version_serves():
    entry = json.loads(versions_json())["versions"][1]
    assert (entry["aliases"], entry["created_ms"], entry["problem"]) == (["champion"], 1_700_000_002_000, None)
    assert entry["gate"]["auc_candidate"] == 0.7234


def test_the_manifest_is_shown_with_what_a_later_release_has_put_in(registry: ModelRegistry):
    path = registry.path(LATER) / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_bytes()) | {"power": 0.02}))
    shown = json.loads(manifest_json(LATER))
    assert (shown["version"], shown["power"], shown["gate"]["reason"]) == (LATER, 0.02, "no_evidence_of_harm")


def test_no_registry_says_how_to_begin_and_is_not_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MILLSTREAM_REGISTRY_DIRECTORY", str(tmp_path / "elsewhere"))
    assert "millstream models init" in printed()[0]
    assert not (tmp_path / "elsewhere").exists()


def test_brackets_in_a_manifest_are_no_markup(registry: ModelRegistry):
    manifest = registry.path(EARLIER) / "manifest.json"
    manifest.write_text(manifest.read_text().replace("no_evidence_of_harm", "[/red] it says"))
    assert any("[/red] it says" in line for line in printed())
