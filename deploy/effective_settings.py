"""The settings that hold here and now, and where each comes from."""

from dataclasses import dataclass
from typing import Any

from pydantic import SecretStr
from pydantic_core import to_jsonable_python

from stream.configuration.setting_names import Origin, origin, settings_groups, variable


@dataclass(frozen=True)
class Setting:
    """One setting.

    Attributes:
        name: Its name in the environment.
        value: Its value, as JSON has it; of a secret only whether it is set.
        origin: Where the value comes from.
    """

    name: str
    value: Any
    origin: Origin


def effective_settings() -> list[Setting]:
    """Return every setting in the order of groups and fields.

    Raises:
        ValueError: A setting is wrong.
    """
    return [
        Setting(variable(group, field), _shown(value), origin(group, field))
        for group in settings_groups().values()
        for field, value in group()
    ]


def _shown(value: Any) -> Any:
    if isinstance(value, SecretStr):
        return "(hidden)" if value.get_secret_value() else ""
    return to_jsonable_python(value)
