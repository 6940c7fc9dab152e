"""An arm: one way of learning that a backtest compares with others, under a name."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from scorer.importance.settings import ImportanceSettings
from scorer.importance.strategies import STRATEGIES, build_strategy
from scorer.model.settings import ModelSettings
from scorer.settings import ScorerSettings
from stream.codec import UndecodableError, from_toml
from stream.configuration.millstream_settings import MillstreamSettings
from trainer.backtest.runs.streams import Stream
from trainer.learning.replay_weights import REPLAY_WEIGHTS
from trainer.settings import GateSettings, TrainerSettings

Settings = TypeVar("Settings", bound=MillstreamSettings)

REPLAY_SHARE = 0.25
"""Share of replayed rows among those that `recency` and `density_ratio` learn, unless the settings name one."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_TABLES = ("scorer", "trainer", "model", "gate", "importance")
_FIXED = {"precision": "fp32", "threads": 1}
"""What a backtest decides about the arithmetic, so that the same seed gives the same bytes."""

_IRRELEVANT = {
    "scorer": {"instance", "stall_seconds", "max_wait_seconds"},
    "trainer": {"update_seconds", "keep_checkpoints", "keep_versions", "start"},
    "model": {"cached_segments"},
}
"""Settings of processes, without a part in a backtest: two arms that differ in them alone are the same."""


class ArmError(ValueError):
    """An arm that cannot run; the message names the file, the arm, the field, the value and the remedy."""


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One way of learning.

    Attributes:
        name: Its name in every file and figure; letters, digits, `_`, `.` and `-`.
        scorer: Strategy and budget, and how micro-batches are cut.
        trainer: Learning rates, batch, update and seed.
        model: What the line is made of.
        gate: When an update may serve; None lets every update serve.
        importance: Parameters of the strategy.
    """

    name: str
    scorer: ScorerSettings
    trainer: TrainerSettings
    model: ModelSettings
    gate: GateSettings | None
    importance: ImportanceSettings

    @property
    def budget(self) -> float:
        """Expected share of rows that are learned, replayed ones included."""
        return self.scorer.budget / (1 - self.trainer.replay_share)

    def stream(self, stream: Stream) -> Stream:
        """Return the stream as the arm needs it: `delay_fnw` undoes early negatives, so it must get them."""
        return stream.with_early_negatives() if self.scorer.strategy == "delay_fnw" else stream

    def seeded(self, seed: int) -> "Arm":
        """Return the arm with the seed of its updates moved by a run's seed."""
        return replace(self, trainer=self.trainer.model_copy(update={"seed": self.trainer.seed + seed}))

    def facts(self) -> dict[str, Any]:
        """Return everything that decides what the arm does, as plain values."""
        tables: dict[str, MillstreamSettings | None] = {name: getattr(self, name) for name in _TABLES}
        facts = {"name": self.name} | {
            name: "off" if table is None else table.model_dump(mode="json", exclude=_IRRELEVANT.get(name))
            for name, table in tables.items()
        }
        rules = self.importance.rules
        return facts if rules is None else facts | {"rules_sha256": sha256(rules.read_bytes()).hexdigest()}


def arms_of_strategies(names: Sequence[str], budget: float | None, *, gate: bool = True) -> list[Arm]:
    """Return one arm per strategy, all with the settings of environment and file.

    Strategies that weigh replayed rows get some to weigh, where the settings replay none: REPLAY_SHARE of what is
    learned, taken from the budget, so that all arms learn the same number of rows.

    Args:
        names: Names of strategies; each is its arm's name.
        budget: Share of rows that is learned; the configured one when None.
        gate: Whether updates are judged before they serve.

    Raises:
        ArmError: a strategy is unknown or named twice.
    """
    common = ({} if budget is None else {"budget": budget}) | ({} if gate else {"gate": "off"})
    arms = _arms([{"name": name, "strategy": name, **common} for name in names], "--strategies")
    return [_replaying(arm) if arm.scorer.strategy in REPLAY_WEIGHTS else arm for arm in arms]


def _replaying(arm: Arm) -> Arm:
    if arm.trainer.replay_share > 0:
        return arm
    return replace(
        arm,
        scorer=arm.scorer.model_copy(update={"budget": arm.scorer.budget * (1 - REPLAY_SHARE)}),
        trainer=arm.trainer.model_copy(update={"replay_share": REPLAY_SHARE}),
    )


def read_arms(path: Path) -> list[Arm]:
    """Return the arms of a TOML file of `[[arm]]` tables.

    An arm has `name`, `strategy`, `budget`, `gate = "off"` or a table `[arm.gate]`, and tables `[arm.scorer]`,
    `[arm.trainer]`, `[arm.model]` and `[arm.importance]` of the settings of those names. What an arm leaves out is read
    from environment and file, as everywhere.

    Raises:
        ArmError: the file cannot be read or an arm is wrong.
    """
    try:
        content = from_toml(path.read_bytes(), "TOML", path)
    except OSError as error:
        message = f"--arms {path} cannot be read ({error}); name a TOML file of [[arm]] tables"
        raise ArmError(message) from error
    except UndecodableError as error:
        message = f"{error}; correct it there"
        raise ArmError(message) from error
    tables = content.pop("arm", None)
    if content or not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        found = ", ".join(sorted(content)) or "no [[arm]]"
        message = f"{path}: found {found}; write one [[arm]] table per arm, and nothing beside them"
        raise ArmError(message)
    return _arms(tables, str(path))


def _arms(tables: Sequence[Mapping[str, Any]], source: str) -> list[Arm]:
    arms = [_arm(table, number, source) for number, table in enumerate(tables, start=1)]
    names = [arm.name for arm in arms]
    if not names:
        message = f"{source}: there is no arm; name at least one"
        raise ArmError(message)
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        message = f"{source}: arm {repeated[0]!r} is there more than once; give every arm a name of its own"
        raise ArmError(message)
    return arms


def _arm(table: Mapping[str, Any], number: int, source: str) -> Arm:
    name = table.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        message = (
            f"{source}: arm {number} has name = {name!r}; it names files, so give it a text of letters, digits, '_', "
            "'.' and '-' that begins with a letter or digit"
        )
        raise ArmError(message)
    where = f"{source}: arm {name!r}"
    if unknown := sorted(set(table) - {"name", "strategy", "budget", *_TABLES}):
        message = f"{where}: unknown field {unknown[0]!r}; an arm has name, strategy, budget, {', '.join(_TABLES)}"
        raise ArmError(message)
    scorer = {"frozen_share": 1.0, **_table(table, "scorer", where)}
    scorer |= {field: table[field] for field in ("strategy", "budget") if field in table}
    arm = Arm(
        name=name,
        scorer=_settings(ScorerSettings, scorer, where, "scorer"),
        trainer=_settings(TrainerSettings, _table(table, "trainer", where), where, "trainer"),
        model=_settings(ModelSettings, _computable(_table(table, "model", where), where), where, "model"),
        gate=_gate(table, where),
        importance=_settings(ImportanceSettings, _table(table, "importance", where), where, "importance"),
    )
    if arm.scorer.strategy not in STRATEGIES:
        message = f"{where}: strategy = {arm.scorer.strategy!r} is not one of {', '.join(STRATEGIES)}"
        raise ArmError(message)
    try:
        build_strategy(arm.scorer.strategy, arm.scorer.budget, arm.importance)
    except ValueError as error:
        message = f"{where}: {error}"
        raise ArmError(message) from error
    return arm


def _table(table: Mapping[str, Any], name: str, where: str) -> dict[str, Any]:
    content = table.get(name, {})
    if not isinstance(content, dict):
        message = f"{where}: {name} = {content!r} is not a table; write [arm.{name}] with the settings below it"
        raise ArmError(message)
    return content


def _gate(table: Mapping[str, Any], where: str) -> GateSettings | None:
    if table.get("gate") in {"off", False}:
        return None
    if table.get("gate") in {"on", True}:
        return GateSettings()
    return _settings(GateSettings, _table(table, "gate", where), where, "gate")


def _computable(table: dict[str, Any], where: str) -> dict[str, Any]:
    for field, value in _FIXED.items():
        if table.get(field, value) != value:
            message = (
                f"{where}: [arm.model] {field} = {table[field]!r}, but a backtest computes with {field} = {value!r}, "
                "so that a seed gives the same bytes everywhere; leave it out"
            )
            raise ArmError(message)
    return table | _FIXED


def _settings(kind: type[Settings], table: Mapping[str, Any], where: str, name: str) -> Settings:
    """Return a group of settings; what is wrong in the table is told by its place there."""
    try:
        return kind(**table)
    except ValidationError as error:
        problems = [
            _problem(kind, name, detail["loc"][0] if detail["loc"] else None, detail["input"], detail["msg"])
            for detail in error.errors(include_url=False)
            if not detail["loc"] or detail["loc"][0] in table
        ]
        if not problems:  # it stands in the environment, whose errors name the variable
            raise
        message = f"{where}: {'; '.join(problems)}"
        raise ArmError(message) from error


def _problem(kind: type[MillstreamSettings], name: str, field: object, value: object, problem: str) -> str:
    if field is None:
        return f"[arm.{name}] {problem.removeprefix('Value error, ')}"
    place = str(field) if field in {"strategy", "budget"} else f"[arm.{name}] {field}"
    if field not in kind.model_fields:
        return f"{place} = {value!r} is no setting; take one of {', '.join(sorted(kind.model_fields))}"
    return f"{place} = {value!r}: {problem[:1].lower()}{problem[1:]}"
