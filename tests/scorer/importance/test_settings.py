import pytest

from scorer.importance.settings import ImportanceSettings


def test_noise_rates_that_leave_no_information_are_refused():
    with pytest.raises(ValueError, match=r"false_click_rate=0.6 plus missed_click_rate=0.4 leave no information"):
        ImportanceSettings(false_click_rate=0.6, missed_click_rate=0.4)
