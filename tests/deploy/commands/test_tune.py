from pathlib import Path

import pytest
from typer.testing import CliRunner

from deploy.commands.tune import app

runner = CliRunner()


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ([], "--simulate none|sudden"),
        (["--simulate", "none", "--budgets", "half"], "--budgets 'half'"),
        (["--simulate", "none", "--layers", ","], "--layers is empty"),
    ],
)
def test_what_cannot_be_searched_is_said(arguments: list[str], problem: str):
    result = runner.invoke(app, arguments)
    assert isinstance(result.exception, ValueError)
    assert problem in str(result.exception)


def test_a_file_of_settings_is_not_overwritten(tmp_path: Path):
    out = tmp_path / "tuned.toml"
    out.touch()
    result = runner.invoke(app, ["--simulate", "none", "--out", str(out)])
    assert "name another file (--out)" in str(result.exception)
