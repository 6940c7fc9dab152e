import pytest

from scorer.settings import ScorerSettings


def test_settings_come_from_the_environment(monkeypatch):
    monkeypatch.setenv("MILLSTREAM_SCORER_BUDGET", "0.25")
    assert ScorerSettings().budget == 0.25


@pytest.mark.parametrize("budget", [0, 1.5])
def test_a_budget_is_a_share(budget):
    with pytest.raises(ValueError, match="budget"):
        ScorerSettings(budget=budget)
