"""What goes over HTTP to and from the service, as JSON."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from scorer.feature_spec import FeatureSpec
from stream.events import Impression

_Position = Annotated[int, Meta(ge=0, le=10_000)]


class ScoreRow(Struct, frozen=True, kw_only=True):
    """One row to score: the fields of an impression that a model reads; a whole impression will do.

    Attributes:
        item_text: Title (and more) of the item.
        query: The search text; empty for a recommendation.
        history: Texts of the items the user took interest in, newest first.
        position: 1-based place in the list; 0 when unknown.
        numeric: Further features by name.
        impression_id: Comes back with the score.
    """

    item_text: str
    query: str = ""
    history: tuple[str, ...] = ()
    position: _Position = 0
    numeric: dict[str, float | None] = {}
    impression_id: str = ""


class ScoreRequest(Struct, frozen=True):
    """Body of POST /score."""

    impressions: Annotated[tuple[ScoreRow, ...], Meta(min_length=1)]


class RankItem(Struct, frozen=True, kw_only=True):
    """One candidate of a ranking."""

    item_id: str
    item_text: str
    numeric: dict[str, float | None] = {}


class RankRequest(Struct, frozen=True, kw_only=True):
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


class RowScore(Struct, frozen=True):
    """p(click) of one row."""

    impression_id: str
    p: float


class ScoreResponse(Struct, frozen=True):
    """Scores in the order of the request, all by one version."""

    version: str
    scores: list[RowScore]


class RankedItem(Struct, frozen=True):
    """An item and p(click) at the reference position."""

    item_id: str
    p: float


class RankResponse(Struct, frozen=True):
    """Items, best first; equal scores keep the order of the request. All scored by one version."""

    version: str
    reference_position: int
    items: list[RankedItem]


class ModelResponse(Struct, frozen=True):
    """The version that serves."""

    version: str
    previous: str | None
    precision: str
    features: FeatureSpec


class ErrorBody(Struct, frozen=True):
    """What went wrong: a code for programs, a message for people."""

    code: str
    message: str


class ErrorResponse(Struct, frozen=True):
    """Body of every response that is not 2xx."""

    error: ErrorBody


def score_impressions(request: ScoreRequest) -> list[Impression]:
    """Return the rows as the impressions an engine scores."""
    return [
        _impression(row.item_text, row.query, row.history, row.position, row.numeric) for row in request.impressions
    ]


def rank_impressions(request: RankRequest, reference_position: int) -> list[Impression]:
    """Return the candidates as impressions at one position, so that none gains by its place in the request."""
    return [
        _impression(item.item_text, request.query, request.history, reference_position, request.numeric | item.numeric)
        for item in request.items
    ]


def request_schema(message: type[Struct]) -> dict[str, Any]:
    """Return the OpenAPI description of a request body."""
    (schema,), components = msgspec.json.schema_components([message], ref_template="#/$defs/{name}")
    return {
        "requestBody": {"required": True, "content": {"application/json": {"schema": schema | {"$defs": components}}}}
    }


def _impression(
    item_text: str,
    query: str,
    history: tuple[str, ...],
    position: int,
    numeric: dict[str, float | None],
) -> Impression:
    # Ids and times are no model inputs.
    return Impression(
        impression_id="-",
        event_time_ms=1,
        item_id="",
        item_text=item_text,
        query=query,
        history=history,
        position=position,
        numeric=numeric,
    )
