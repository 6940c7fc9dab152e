"""Business rules: which impressions should teach more, less or nothing, in the words of the shop.

[[rule]]
name = "known bots"
multiply = 0
when.user_id.prefix = "bot-"

[[rule]]
name = "expensive things in the first places"
multiply = 2.5
when.numeric.price.min = 100
when.position.max = 3
"""

import math
import operator
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta, Struct, field

from scorer.importance.strategy import Doubles
from stream.codec import UndecodableError, decoded, from_toml
from stream.events import ClickKind, LabeledImpression

_GRAMMAR = (
    "a [[rule]] has a name, a finite multiply of at least 0, and conditions `when.FIELD.TEST = VALUE`, at least one: "
    "user_id, item_id and query take equals, prefix and in; kind takes equals and in; position and numeric.NAME take "
    "equals, in, min and max"
)


class RuleError(ValueError):
    """A rule file that cannot be used; the message names file, rule and field, and says what is allowed."""


class _Given(Struct, frozen=True, forbid_unknown_fields=True):
    """Something of which at least one field must be given."""

    def __post_init__(self) -> None:
        if not any(value not in (None, {}) for value in msgspec.structs.astuple(self)):
            message = f"needs one of {', '.join(self.__struct_encode_fields__)}"
            raise ValueError(message)


_HOLDS: dict[str, Callable[[Any, Any], bool]] = {
    "equals": operator.eq,
    "prefix": str.startswith,
    "in_": lambda value, allowed: value in allowed,
    "min": operator.ge,
    "max": operator.le,
}
"""What each test asks of a value and of what the rule gives."""


class _Test(_Given, frozen=True):
    """Tests of one value."""

    def holds(self, value: Any) -> bool:
        """Return whether a value passes every test that is given; one that is missing passes none."""
        given = ((name, getattr(self, name)) for name in self.__struct_fields__)
        return value is not None and all(_HOLDS[name](value, wanted) for name, wanted in given if wanted is not None)


class TextTest(_Test, frozen=True):
    """What a text must be."""

    equals: str | None = None
    prefix: str | None = None
    in_: Annotated[tuple[str, ...], Meta(min_length=1)] | None = field(default=None, name="in")


class KindTest(_Test, frozen=True):
    """What the strongest kind of click must be; an impression without a click has none."""

    equals: ClickKind | None = None
    in_: Annotated[tuple[ClickKind, ...], Meta(min_length=1)] | None = field(default=None, name="in")


class NumberTest(_Test, frozen=True):
    """What a number must be; an unknown position is none, and both bounds belong to the range."""

    equals: float | None = None
    in_: Annotated[tuple[float, ...], Meta(min_length=1)] | None = field(default=None, name="in")
    min: float | None = None
    max: float | None = None


class Conditions(_Given, frozen=True, kw_only=True):
    """Tests on the fields of a labeled impression, all of which must hold."""

    user_id: TextTest | None = None
    item_id: TextTest | None = None
    query: TextTest | None = None
    kind: KindTest | None = None
    position: NumberTest | None = None
    numeric: dict[str, NumberTest] = {}

    def results(self, labeled: LabeledImpression) -> Iterator[bool]:
        """Yield the result of every test that is given."""
        impression = labeled.impression
        for test, text in (
            (self.user_id, impression.user_id),
            (self.item_id, impression.item_id),
            (self.query, impression.query),
        ):
            if test is not None:
                yield test.holds(text)
        if self.kind is not None:
            yield self.kind.holds(labeled.kind)
        if self.position is not None:
            yield self.position.holds(impression.position or None)
        for name, number in self.numeric.items():
            yield number.holds(impression.numeric.get(name))


class Rule(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Some impressions, and what their weight is multiplied with.

    Attributes:
        name: What people call it.
        multiply: The factor; 0 teaches nothing.
        when: Which impressions.
    """

    name: Annotated[str, Meta(min_length=1)]
    multiply: Annotated[float, Meta(ge=0)]
    when: Conditions

    def __post_init__(self) -> None:
        if not math.isfinite(self.multiply):
            message = f"multiply={self.multiply} is not finite"
            raise ValueError(message)

    def matches(self, labeled: LabeledImpression) -> bool:
        """Return whether the rule speaks of a labeled impression."""
        return all(self.when.results(labeled))


def rule_factor(rules: Sequence[Rule], labeled: Sequence[LabeledImpression]) -> Doubles:
    """Return the product of the multipliers of all rules that match.

    A rule on what was shown leaves what z learns where it is and moves the model's attention; one on `kind` looks at
    the label, and moves z by the log of its multiplier.
    """
    products = [math.prod(rule.multiply for rule in rules if rule.matches(row)) for row in labeled]
    return np.array(products, dtype=np.float64)


def load_rules(path: Path) -> list[Rule]:
    """Return the rules of a TOML file.

    Raises:
        RuleError: the file cannot be read or is no TOML, or one of its rules is wrong.
    """
    try:
        content = from_toml(path.read_bytes(), "a TOML file")
    except (OSError, UndecodableError) as error:
        message = f"importance.rules={path} cannot be read: {error}; name a TOML file of rules, or unset it"
        raise RuleError(message) from error
    rules = content.pop("rule", [])
    if content or not isinstance(rules, list) or not rules:
        found = ", ".join(content) or "no rule"
        message = f"importance.rules={path} must hold [[rule]] tables and nothing else, and has {found}; {_GRAMMAR}"
        raise RuleError(message)
    return [_rule(path, number, rule) for number, rule in enumerate(rules, 1)]


def _rule(path: Path, number: int, raw: Any) -> Rule:
    place = f"importance.rules={path}, rule {number} ({raw.get('name', 'no name') if isinstance(raw, dict) else raw!r})"
    try:
        return decoded(raw, lambda raw: msgspec.convert(raw, Rule), "a rule", place)
    except UndecodableError as error:
        message = f"{error}; {_GRAMMAR}"
        raise RuleError(message) from error
