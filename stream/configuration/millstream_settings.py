"""What every group of settings is: read from arguments, environment and file when one is built, never at import."""

import json
from pathlib import Path
from typing import Any, ClassVar, get_args, get_origin

from pydantic import ValidationInfo, field_validator
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from stream.configuration.settings_file import read_settings_file

_MAX_NUMBER = 2**32 - 1
"""Largest number that any setting may be: a seed, or 136 years; beyond it seconds overflow the clocks that wait."""


class MillstreamSettings(BaseSettings):
    """One group of settings, each read from (first wins) argument, environment, TOML file.

    The environment name is `MILLSTREAM_<GROUP>_<FIELD>`; the file is `MILLSTREAM_CONFIG`, its table `[group]`.
    A group is a subclass: `class JoinSettings(MillstreamSettings, group="join")`. A list is written `a,b`, or as JSON.

    Attributes:
        table: The group's table in the file.
    """

    table: ClassVar[str]

    model_config = SettingsConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, enable_decoding=False)

    def __init_subclass__(cls, group: str, **kwargs: Any) -> None:
        cls.table = group
        cls.model_config = MillstreamSettings.model_config | SettingsConfigDict(
            env_prefix=f"MILLSTREAM_{group}_".upper()
        )
        super().__init_subclass__(**kwargs)

    @field_validator("*", mode="before")
    @classmethod
    def _read_list(cls, value: Any, info: ValidationInfo) -> Any:
        """Return the parts of a text that stands for a list; pydantic itself would read JSON only."""
        annotation = cls.model_fields[info.field_name or ""].annotation
        if not isinstance(value, str) or get_origin(annotation) is not tuple:
            return value
        if not value.strip().startswith("["):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        try:
            return tuple(json.loads(value))
        except (ValueError, RecursionError) as error:
            message = f"it begins like a JSON list and is none ({error}); write a,b"
            raise ValueError(message) from error

    @field_validator("*", mode="before")
    @classmethod
    def _refuse_other_kind(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse what pydantic would read as something else: true as 1, an empty text as the current directory."""
        annotation = cls.model_fields[info.field_name or ""].annotation
        kinds = {annotation, *get_args(annotation)}
        if isinstance(value, bool) and kinds & {int, float}:
            message = "input should be a number, not true or false"
            raise ValueError(message)
        if Path in kinds and isinstance(value, str) and not value.strip():
            message = "it names no path; name one, or unset it for the default"
            raise ValueError(message)
        return value

    @field_validator("*")
    @classmethod
    def _refuse_huge_number(cls, value: Any) -> Any:
        if isinstance(value, int | float) and abs(value) > _MAX_NUMBER:
            message = f"input should be at most {_MAX_NUMBER}"
            raise ValueError(message)
        return value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return the sources, strongest first."""
        fields = read_settings_file().get(cls.table, {})
        return init_settings, env_settings, InitSettingsSource(settings_cls, fields)
