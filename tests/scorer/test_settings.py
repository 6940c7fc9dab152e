import pytest

from scorer.settings import ImportanceSettings, ModelSettings, ScorerSettings


def test_rows_too_short_for_query_and_item_are_refused():
    with pytest.raises(ValueError, match=r"max_tokens=40 cannot hold.*at least 51"):
        ModelSettings(max_tokens=40)


def test_settings_come_from_the_environment(monkeypatch):
    monkeypatch.setenv("MILLSTREAM_MODEL_THREADS", "2")
    monkeypatch.setenv("MILLSTREAM_SCORER_BUDGET", "0.25")
    assert (ModelSettings().threads, ScorerSettings().budget) == (2, 0.25)


@pytest.mark.parametrize("budget", [0, 1.5])
def test_a_budget_is_a_share(budget):
    with pytest.raises(ValueError, match="budget"):
        ScorerSettings(budget=budget)


def test_noise_rates_that_leave_no_information_are_refused():
    with pytest.raises(ValueError, match=r"false_click_rate=0.6 plus missed_click_rate=0.4 leave no information"):
        ImportanceSettings(false_click_rate=0.6, missed_click_rate=0.4)
