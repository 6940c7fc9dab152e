import pytest

from scorer.importance import rules
from scorer.importance.rules import RuleError, load_rules, rule_factor
from stream.events import Impression, LabeledImpression


def labeled(*, kind=None, **changes):
    impression = Impression(**({"impression_id": "i", "event_time_ms": 1, "item_id": "i", "item_text": ""} | changes))
    return LabeledImpression(
        impression=impression,
        label=int(kind is not None),
        kind=kind,
        label_due_ms=1,
        source_partition=0,
        source_offset=0,
    )


def load(directory, text):
    path = directory / "rules.toml"
    path.write_text(text)
    return load_rules(path)


def rule(condition, multiply="0", name="r"):
    return f'[[rule]]\nname = "{name}"\nmultiply = {multiply}\nwhen.{condition}\n'


@pytest.mark.parametrize(
    ("condition", "matching", "other"),
    [
        ('user_id.equals = "anna"', {"user_id": "anna"}, {"user_id": "anna2"}),
        ('user_id.prefix = "bot-"', {"user_id": "bot-7"}, {"user_id": "robot-7"}),
        ('user_id.in = ["a", "b"]', {"user_id": "b"}, {"user_id": "c"}),
        ('item_id.prefix = "own-"', {"item_id": "own-1"}, {}),
        ('query.equals = ""', {}, {"query": "shoe"}),
        ("position.equals = 2", {"position": 2}, {"position": 3}),
        ("position.max = 3", {"position": 3}, {"position": 4}),
        ("position.max = 3", {"position": 1}, {"position": 0}),
        ("numeric.price.min = 10", {"numeric": {"price": 10.0}}, {"numeric": {"price": 9.99}}),
        ("numeric.price.min = 10", {"numeric": {"price": 99.0}}, {"numeric": {"price": None}}),
        ("numeric.price.max = 10", {"numeric": {"price": 9.0}}, {"numeric": {"size": 9.0}}),
        ("numeric.price.in = [1, 2.5]", {"numeric": {"price": 2.5}}, {"numeric": {"price": 2.0}}),
        ('kind.equals = "purchase"', {"kind": "purchase"}, {"kind": "cart"}),
        ('kind.in = ["cart", "purchase"]', {"kind": "cart"}, {}),
    ],
)
def test_a_rule_matches_what_its_condition_says(tmp_path, condition, matching, other):
    (one,) = load(tmp_path, rule(condition))
    assert one.matches(labeled(**matching))
    assert not one.matches(labeled(**other))


def test_all_conditions_of_a_rule_must_hold(tmp_path):
    (one,) = load(tmp_path, rule('user_id.prefix = "bot-"\nwhen.position.min = 2\nwhen.position.max = 4'))
    assert one.matches(labeled(user_id="bot-1", position=3))
    assert not any(one.matches(labeled(user_id=user, position=p)) for user, p in (("bot-1", 5), ("bot-1", 1), ("x", 3)))


def test_multipliers_of_all_matching_rules_are_multiplied(tmp_path):
    both = load(tmp_path, rule('query.equals = "q"', "3") + rule("position.min = 1", "0.5"))
    rows = [labeled(), labeled(query="q"), labeled(position=1), labeled(query="q", position=1)]
    assert rule_factor(both, rows).tolist() == [1.0, 3.0, 0.5, 1.5]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (
            rule('user_id.prefx = "x"', name="bots"),
            r"rule 1 \('bots'\) is not a rule: .*unknown field `prefx` - at `\$\.when\.user_id`",
        ),
        (
            rule('user_id.prefix = "x"') + rule("colour.equals = 1", name="b"),
            r"rule 2 \('b'\) is not a rule: .*unknown field `colour`",
        ),
        (rule("user_id = {}"), r"needs one of equals, prefix, in - at `\$\.when\.user_id`"),
        (rule("numeric = {}"), r"needs one of user_id, .*numeric - at `\$\.when`"),
        (rule('user_id.min = "x"'), r"unknown field `min` - at `\$\.when\.user_id`"),
        (rule('position.min = "x"'), r"Expected `float \| null`, got `str` - at `\$\.when\.position\.min`"),
        (rule('kind.equals = "buy"'), r"Invalid enum value 'buy' - at `\$\.when\.kind\.equals`"),
        (rule("user_id.in = []"), r"length >= 1 - at `\$\.when\.user_id\.in`"),
        (rule('query.equals = "x"', multiply="-1"), r"Expected `float` >= 0.0 - at `\$\.multiply`"),
        (rule('query.equals = "x"', multiply="inf"), r"multiply=inf is not finite"),
        (rule('query.equals = "x"', multiply="nan"), r"multiply"),
        ('[[rule]]\nname = "x"\nmultiply = 2\n', r"rule 1 \('x'\) is not a rule: Object missing required field `when`"),
        ("rule = [3]\n", r"rule 1 \(3\) is not a rule: Expected `object`, got `int`"),
    ],
)
def test_a_wrong_rule_is_refused_with_its_place_and_what_is_allowed(tmp_path, text, complaint):
    with pytest.raises(
        RuleError, match=rf"importance\.rules=.*rules\.toml, .*{complaint}.*; a \[\[rule\]\] has a name"
    ):
        load(tmp_path, text)


@pytest.mark.parametrize(("text", "found"), [("", "no rule"), ("rules = 1\n", "rules"), ("rule = 1\n", "no rule")])
def test_a_file_without_rules_is_refused(tmp_path, text, found):
    with pytest.raises(RuleError, match=rf"must hold \[\[rule\]\] tables and nothing else, and has {found};"):
        load(tmp_path, text)


def test_a_file_that_is_not_there_or_no_toml_is_refused(tmp_path):
    with pytest.raises(RuleError, match=r"none\.toml cannot be read: .*No such file.*name a TOML file"):
        load_rules(tmp_path / "none.toml")
    with pytest.raises(RuleError, match=r"cannot be read: .*name a TOML file"):
        load(tmp_path, "x")


def test_the_example_in_the_documentation_is_a_rule_file(tmp_path):
    text = rules.__doc__.partition("\n")[2]
    names = [one.name for one in load(tmp_path, text)]
    assert names == ["known bots", "expensive things in the first places"]
