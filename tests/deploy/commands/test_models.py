import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from deploy.commands.models import app
from scorer.registry.registry import ModelRegistry
from scorer.registry.version_store import RegistryError
from tests.doubles import tiny_bundle

runner = CliRunner()


@pytest.fixture
def version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("MILLSTREAM_HOME", str(tmp_path))
    bundle = tiny_bundle(tmp_path / "tokenizer")
    registry = ModelRegistry(tmp_path / "registry")
    registry.publish(bundle, created_ms=1_700_000_000_000)
    registry.set_alias("champion", bundle.version)
    return bundle.version


def test_list_shows_versions_in_full_with_their_aliases(version: str):
    result = runner.invoke(app, ["list"])

    assert result.exit_code == 0
    assert version in result.output
    assert "champion" in result.output


def test_show_prints_the_manifest(version: str):
    for options in ([], ["--json"]):
        assert f'"version": "{version}"' in runner.invoke(app, ["show", version, *options]).output


def test_show_without_a_version_shows_the_one_that_serves(version: str, tmp_path: Path):
    assert f'"version": "{version}"' in runner.invoke(app, ["show"]).output

    (tmp_path / "registry" / "aliases" / "champion").unlink()
    refused = runner.invoke(app, ["show"])

    assert isinstance(refused.exception, RegistryError)
    assert "no version in" in str(refused.exception)
    assert "millstream models init" in str(refused.exception)


def test_list_prints_json_for_a_program(version: str):
    listed = json.loads(runner.invoke(app, ["list", "--json"]).output)
    assert [entry["version"] for entry in listed["versions"]] == [version]


def test_verify_finds_a_changed_file(version: str, tmp_path: Path):
    assert runner.invoke(app, ["verify"]).exit_code == 0

    (tmp_path / "registry" / version / "statistics.json").write_text("[]")
    result = runner.invoke(app, ["verify", version])

    assert result.exit_code == 1
    assert f"{version}: statistics.json: sha256" in result.output


def test_verify_is_read_by_programs(version: str, tmp_path: Path):
    assert json.loads(runner.invoke(app, ["verify", "--json"]).output) == {"problems": []}

    (tmp_path / "registry" / version / "statistics.json").write_text("[]")
    result = runner.invoke(app, ["verify", "--json"])

    assert result.exit_code == 1
    [problem] = json.loads(result.output)["problems"]
    assert problem.startswith(f"{version}: statistics.json: sha256")


def test_prune_keeps_the_champion(version: str):
    result = runner.invoke(app, ["prune", "--keep", "1"])

    assert result.exit_code == 0
    assert "removed 0 versions" in result.output


def test_an_empty_registry_says_how_to_begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MILLSTREAM_HOME", str(tmp_path))

    assert "millstream models init" in runner.invoke(app, ["list"]).output
