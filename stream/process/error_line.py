"""One line for one error: what an operator reads instead of a traceback."""

from collections.abc import Iterator

from pydantic import SecretStr, ValidationError

from stream.configuration.millstream_settings import MillstreamSettings
from stream.configuration.setting_names import origin, variable
from stream.configuration.settings_file import settings_file

_MAX_SHOWN = 100
"""Characters of a wrong value that its line shows: a file pasted into a variable would bury what is wrong."""


def error_line(error: BaseException) -> str:
    """Return the error as one line; for a wrong setting its environment name, its value and what it must be."""
    if isinstance(error, ValidationError):
        return " ".join("; ".join(_setting_lines(error)).split())
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {(error.strerror or type(error).__name__).lower()}"
    return " ".join(str(error).split()) or type(error).__name__


def _setting_lines(error: ValidationError) -> Iterator[str]:
    group = _group(error.title)
    for detail in error.errors(include_url=False):
        names = [str(part) for part in detail["loc"]]
        message = detail["msg"].removeprefix("Value error, ")
        if not names:  # a rule across fields names them itself
            yield message
            continue
        field = group.model_fields.get(names[0]) if group else None
        if detail["type"] == "extra_forbidden":  # its value may be a secret under a misspelt name
            yield f"{names[0]} is no setting of [{group.table if group else error.title}]"
            continue
        value = "(hidden)" if field is not None and field.annotation is SecretStr else _shown(detail["input"])
        name = variable(group, names[0]) if group else names[0].upper()
        if field is not None and group is not None and origin(group, names[0]) == "file":
            name = f"{settings_file()}: {name}"
        yield f"{name}={value}: {message[:1].lower()}{message[1:]}"


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."


def _group(name: str) -> type[MillstreamSettings] | None:
    return next((group for group in MillstreamSettings.__subclasses__() if group.__name__ == name), None)
