import numpy as np
import pytest

from scorer.importance.controls import FixedShare
from scorer.importance.factors import build_factors, conversion_factor, position_factor
from scorer.importance.rules import RuleError
from scorer.importance.settings import ImportanceSettings
from scorer.importance.strategies import build_strategy
from scorer.importance.strategy import ScoredRows
from stream.events import Impression, LabeledImpression

BOTS = '[[rule]]\nname = "bots"\nmultiply = 0\nwhen.user_id.prefix = "bot-"\n'


def labeled(kind=None, *, position=0, user_id=""):
    impression = Impression(
        impression_id="i", event_time_ms=1, item_id="i", item_text="", position=position, user_id=user_id
    )
    return LabeledImpression(
        impression=impression,
        label=int(kind is not None),
        kind=kind,
        label_due_ms=1,
        source_partition=0,
        source_offset=0,
    )


def scored(rows, seed=0):
    random = np.random.default_rng(seed)
    label = np.array([row.label for row in rows], dtype=float)
    return ScoredRows(random.normal(-2, 1, len(rows)), label, np.full(len(rows), 5.0), labeled=rows)


def rule_file(directory, text=BOTS):
    path = directory / "rules.toml"
    path.write_text(text)
    return path


def test_each_kind_of_click_has_its_weight():
    settings = ImportanceSettings(cart_weight=2.0, purchase_weight=5.0)
    rows = [labeled(), labeled("click"), labeled("cart"), labeled("purchase")]
    assert conversion_factor(settings, rows).tolist() == [1.0, 1.0, 2.0, 5.0]


def test_a_click_far_down_speaks_for_those_who_did_not_look_there():
    settings = ImportanceSettings(position_eta=0.5, position_cap=3.0)
    rows = [labeled("click", position=position) for position in (1, 4, 9, 16)]
    assert position_factor(settings, rows).tolist() == [1.0, 2.0, 3.0, 3.0]


@pytest.mark.parametrize("row", [labeled(position=9), labeled("click", position=0)])
def test_a_non_click_and_an_unknown_position_are_not_corrected(row):
    assert position_factor(ImportanceSettings(position_eta=1.0), [row]).tolist() == [1.0]


def test_by_default_no_factor_is_on_and_nothing_is_wrapped():
    assert build_factors(ImportanceSettings()) == []
    assert isinstance(build_strategy("uniform", 0.5, ImportanceSettings()), FixedShare)


def test_factors_multiply_the_weight_and_leave_the_probability_unless_they_silence(tmp_path):
    settings = ImportanceSettings(purchase_weight=3.0, position_eta=0.5, rules=rule_file(tmp_path))
    rows = [labeled("purchase", position=4), labeled("purchase", position=4, user_id="bot-1"), labeled()] * 20
    plain = build_strategy("gradnorm_is", 0.5, ImportanceSettings()).weigh(scored(rows))
    found = build_strategy("gradnorm_is", 0.5, settings).weigh(scored(rows))
    np.testing.assert_allclose(found.importance_weight, plain.importance_weight * np.array([6.0, 0.0, 1.0] * 20))
    np.testing.assert_array_equal(found.inclusion_probability, plain.inclusion_probability * np.array([1, 0, 1] * 20))
    assert found.strategy == "gradnorm_is"


def test_factors_hold_while_the_strategy_is_replaced(tmp_path):
    strategy = build_strategy("gradnorm_is", 0.5, ImportanceSettings(rules=rule_file(tmp_path)))
    rows = [labeled(user_id="bot-1"), labeled(user_id="anna")] * 1500
    alike = ScoredRows(np.zeros(3000), np.zeros(3000), np.full(3000, 5.0), labeled=rows)
    taught = strategy.weigh(alike)
    assert taught.strategy == "uniform"
    assert taught.importance_weight[:2].tolist() == [0.0, 1.0]


def test_rows_that_a_rule_silences_do_not_count_as_a_collapse_of_the_sample(tmp_path):
    strategy = build_strategy("gradnorm_is", 0.5, ImportanceSettings(rules=rule_file(tmp_path)))
    rows = [
        labeled("click" if index % 10 == 0 else None, user_id="bot-1" if index % 5 else "") for index in range(4000)
    ]
    assert strategy.weigh(scored(rows)).strategy == "gradnorm_is"


def test_its_name_is_that_of_the_strategy():
    assert build_strategy("gradnorm_is", 0.5, ImportanceSettings(cart_weight=2.0)).name == "gradnorm_is"


def test_rows_without_their_impressions_are_refused():
    strategy = build_strategy("uniform", 0.5, ImportanceSettings(cart_weight=2.0))
    with pytest.raises(ValueError, match="labeled has 0 of 1 rows"):
        strategy.weigh(ScoredRows(np.zeros(1), np.zeros(1), np.ones(1)))


def test_a_rule_file_that_cannot_be_used_stops_the_start(tmp_path):
    with pytest.raises(RuleError, match=r"rules\.toml"):
        build_strategy("uniform", 0.5, ImportanceSettings(rules=rule_file(tmp_path, "[[rule]]\n")))
