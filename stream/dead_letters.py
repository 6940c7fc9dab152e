"""Records that cannot be used, kept with their original bytes and the reason."""

from hashlib import sha256
from typing import Literal, get_args

from stream.record import Record

LostClickReason = Literal["late_click", "orphaned_click", "unmatched_click", "excess_click", "further_click"]
"""Why no label takes a sound click."""

DeadLetterReason = Literal[
    "empty",
    "oversized",
    "malformed",
    "unknown_version",
    "future_time",
    "past_time",
    "unmappable",
    "unscorable",
    LostClickReason,
]
"""Why a record is a dead letter. Sound clicks that no label takes are among them; they are counted apart."""

GONE = "gone"
"""Reason of the letter for a range of records that retention deleted before they were read; none of those above."""

DEAD_LETTER_REASONS: tuple[DeadLetterReason, ...] = get_args(DeadLetterReason)

LOST_CLICK_REASONS: tuple[LostClickReason, ...] = get_args(LostClickReason)

MAX_ORIGINAL_BYTES = 512 * 1024
"""A longer original is cut to its first so many bytes: letter and headers must fit the dead-letter topic."""

_MAX_MESSAGE_CHARS = 1_000


def dead_letter_headers(
    *, topic: str, partition: int, offset: int, process: str, reason: str, error: Exception | str
) -> dict[str, bytes]:
    """Return the headers of a dead letter.

    Args:
        topic: Topic of the original record.
        partition: Its partition.
        offset: Its offset.
        process: The one that could not use it: join, adapter, scorer, trainer, evaluator.
        reason: One of `DEAD_LETTER_REASONS`, or `GONE`.
        error: What went wrong; its class becomes a header.
    """
    fields = {
        "topic": topic,
        "partition": str(partition),
        "offset": str(offset),
        "stage": process,
        "reason": reason,
        "exception": type(error).__name__ if isinstance(error, Exception) else "",
        "message": str(error)[:_MAX_MESSAGE_CHARS],
    }
    return {f"millstream.{name}": text.encode() for name, text in fields.items()}


def dead_letter(key: bytes | None, value: bytes | None, headers: dict[str, bytes]) -> Record:
    """Return the letter, its value cut if it is too large to send (headers `.truncated` and `.sha256` then tell)."""
    if key is None and value is None:
        value = b""  # Faust's client sends nothing that has neither
    if value is None or len(value) <= MAX_ORIGINAL_BYTES:
        return Record(key, value, headers)
    cut = {
        "millstream.truncated": str(len(value)).encode(),
        "millstream.sha256": sha256(value).hexdigest().encode(),
    }
    return Record(key, value[:MAX_ORIGINAL_BYTES], headers | cut)
