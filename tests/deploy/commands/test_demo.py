from typer.testing import CliRunner

from deploy.commands.demo import app


def test_a_budget_outside_0_to_1_is_refused_before_anything_starts():
    result = CliRunner().invoke(app, ["--budget", "2"])

    assert result.exit_code == 2
    assert "--budget" in result.output
