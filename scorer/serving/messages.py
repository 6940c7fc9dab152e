"""What goes over HTTP to the service, as JSON."""

import re
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from stream.events import Served
from stream.unknown_fields import hint

_Position = Annotated[int, Meta(ge=0, le=10_000)]


class ServedBefore(Served, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The score an impression was shown with; not read."""


class ScoreRow(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One row to score, a `ModelInput`: of an impression what a model reads; a whole impression will do.

    Attributes:
        item_text: Title (and more) of the item.
        query: The search text; empty for a recommendation.
        history: Texts of the items the user took interest in, newest first.
        position: 1-based place in the list; 0 when unknown.
        numeric: Further features by name.
        impression_id: Comes back with the score.
        served: The score it was shown with before; not read.
        type, event_time_ms, item_id, user_id, schema_version: Of an impression; not read.
    """

    item_text: str
    query: str = ""
    history: tuple[str, ...] = ()
    position: _Position = 0
    numeric: dict[str, float | None] = {}
    impression_id: str = ""
    type: Any = None
    event_time_ms: Any = None
    item_id: Any = None
    user_id: Any = None
    served: ServedBefore | None = None
    schema_version: Any = None


class ScoreRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """Body of POST /score.

    Attributes:
        impressions: The rows.
    """

    impressions: Annotated[tuple[ScoreRow, ...], Meta(min_length=1)]


class RankItem(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One candidate of a ranking.

    Attributes:
        item_id: Comes back with the score.
        item_text: Title (and more) of the item.
        numeric: Further features by name; those of an item come before shared ones.
    """

    item_id: str
    item_text: str
    numeric: dict[str, float | None] = {}


class RankRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of POST /rank: one user, one query, many items.

    Attributes:
        items: The candidates.
        query: The search text; empty for a recommendation.
        history: Texts of the items the user took interest in, newest first.
        numeric: Features that all candidates share; those of an item come first.
        top: How many of the best to return; null for all.
    """

    items: Annotated[tuple[RankItem, ...], Meta(min_length=1)]
    query: str = ""
    history: tuple[str, ...] = ()
    numeric: dict[str, float | None] = {}
    top: Annotated[int, Meta(ge=1)] | None = None


_MESSAGES = (ScoreRequest, ScoreRow, ServedBefore, RankRequest, RankItem)
_UNKNOWN = re.compile(r"unknown field `(.*?)`")


def unknown_field(reason: str) -> str | None:
    """Return what to say of a body that was refused for a field that nobody reads; None if that was not why.

    Args:
        reason: Why it was refused; names the field and its place.
    """
    found = _UNKNOWN.search(reason)
    if found is None:
        return None
    known = {name for message in _MESSAGES for name in message.__struct_encode_fields__}
    return f"{reason}{hint(found[1], known)}"


def candidates(request: RankRequest, reference_position: int) -> list[ScoreRow]:
    """Return the items as rows at one position, so that none gains by its place in the request."""
    return [
        ScoreRow(
            item_text=item.item_text,
            query=request.query,
            history=request.history,
            position=reference_position,
            numeric=request.numeric | item.numeric,
        )
        for item in request.items
    ]


def request_schema(message: type[Struct]) -> dict[str, Any]:
    """Return the OpenAPI description of a request body."""
    (schema,), components = msgspec.json.schema_components([message], ref_template="#/$defs/{name}")
    return {
        "requestBody": {"required": True, "content": {"application/json": {"schema": schema | {"$defs": components}}}}
    }
