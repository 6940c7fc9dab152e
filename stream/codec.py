"""From bytes to values: whatever the bytes are, the only error is one that says whose they are and what is wrong."""

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import msgspec

Encoded = TypeVar("Encoded")
Value = TypeVar("Value")

_MAX_REASON_CHARS = 300


class UndecodableError(ValueError):
    """Something that is not what it should be; the message names it, and where it lies if that is known."""


def decoded(raw: Encoded, decode: Callable[[Encoded], Value], what: str, where: object = "") -> Value:
    """Return what a decoder makes of bytes, or of what another one made of them.

    Args:
        raw: The bytes.
        decode: Makes the value; looks at nothing else.
        what: What they should be, with its article, for the message.
        where: File, or topic, partition and offset, for the message.

    Raises:
        UndecodableError: the decoder failed, in whatever way.
    """
    try:
        return decode(raw)
    except Exception as error:
        # Libraries do not promise what hostile bytes raise: msgspec alone has DecodeError, RecursionError (deep JSON),
        # UnicodeDecodeError and ValueError; Arrow, numpy and safetensors have a dozen more.
        prefix = f"{where} is " if where else ""
        message = f"{prefix}not {what}: {reason_of(error)}"
        raise UndecodableError(message) from error


def from_json(raw: bytes, kind: type[Value], what: str, where: object = "") -> Value:
    """Return the value of a type that JSON bytes hold.

    Raises:
        UndecodableError: they hold none.
    """
    return decoded(raw, lambda raw: msgspec.json.decode(raw, type=kind), what, where)


def from_toml(raw: bytes, what: str, where: object = "") -> dict[str, Any]:
    """Return the tables that the bytes of a TOML file hold; a byte order mark, as some editors put there, is passed.

    Raises:
        UndecodableError: they are no TOML.
    """
    return decoded(raw, lambda raw: tomllib.loads(raw.decode("utf-8-sig")), what, where)


def text_of(path: Path, what: str) -> str:
    """Return a small text file without the space around it.

    Raises:
        OSError: it cannot be read.
        UndecodableError: it is not UTF-8.
    """
    return decoded(path.read_bytes(), lambda raw: raw.decode().strip(), what, path)


def reason_of(error: Exception) -> str:
    """Return what was wrong as one short line."""
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    text = " ".join(str(error).split()) or type(error).__name__
    # A message may quote the bytes.
    return text if len(text) <= _MAX_REASON_CHARS else f"{text[:_MAX_REASON_CHARS]}..."
