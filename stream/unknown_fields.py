"""Fields that nobody reads: in an event they are passed, since a newer producer may be right, but said and counted."""

from collections.abc import Callable, Iterable
from difflib import get_close_matches

import msgspec
import structlog

from stream.codec import UndecodableError, decoded
from stream.events import Click, Impression

_TAG = "type"
_MAX_NAMES = 100
"""A producer that makes up names is said to do so no longer."""
_MAX_NAME_CHARS = 60

_KNOWN = {kind: frozenset({_TAG, *kind.__struct_encode_fields__}) for kind in (Impression, Click)}
_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])


def hint(name: str, known: Iterable[str]) -> str:
    """Return a question for the known name that is nearest to an unknown one; empty where none is near."""
    near = get_close_matches(name, sorted(known), n=1, cutoff=0.6)
    return f"; did you mean {near[0]}?" if near else ""


class UnknownFields:
    """Looks for fields of events that are none of ours.

    Args:
        count: Counts an event that has one.
    """

    def __init__(self, count: Callable[[], object]) -> None:
        self._count = count
        self._said: set[tuple[type, str]] = set()

    def look(self, event: Impression | Click, raw: bytes) -> None:
        """Look at an event and the bytes that it was decoded from; say each name once."""
        known = _KNOWN[type(event)]
        try:
            unknown = decoded(raw, _FIELDS.decode, "an object").keys() - known
        except UndecodableError:  # nested as deeply as the event's own decoder just bore
            return
        if not unknown:
            return
        self._count()
        for name in sorted(unknown):
            if (type(event), name) not in self._said and len(self._said) < _MAX_NAMES:
                self._said.add((type(event), name))
                shown = name[:_MAX_NAME_CHARS]
                structlog.get_logger(__name__).warning(
                    "unknown_field",
                    event_type=type(event).__name__.lower(),
                    field=shown,
                    what=f"nobody reads it{hint(shown, known)}",
                )
