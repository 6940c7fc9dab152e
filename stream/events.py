"""The events that cross Kafka as JSON, and the codec that decodes old bytes for ever.

`WeightedExample` is here too, because it is an event; it travels in Arrow batches (stream/example_batch.py).
"""

from collections.abc import Callable
from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from stream.codec import UndecodableError, decoded

SCHEMA_VERSION = 1
"""Version written into every event. Readers accept every version up to this one."""

MAX_EVENT_BYTES = 65_536
"""Largest impression or click that is decoded; a larger one is a dead letter (a shop's event is 0.3 to 2 KB)."""

OLDEST_MS = 946_684_800_000
"""The year 2000: what claims to have happened before it is in seconds, or never got a time."""

Id = Annotated[str, Meta(min_length=1, max_length=200)]
EpochMs = Annotated[int, Meta(gt=0, lt=10**14)]
ClickKind = Literal["click", "cart", "purchase"]
Alias = Literal["champion", "previous", "frozen"]


class EventError(ValueError):
    """Bytes that are not an event we can use. `reason` is a bounded label for metrics and dead letters."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Served(Struct, frozen=True, kw_only=True):
    """The score the shop showed this impression with, when it was served by us."""

    model_version: str
    score: float


class Impression(Struct, frozen=True, kw_only=True, tag="impression", tag_field="type"):
    """One item shown to one user.

    Attributes:
        impression_id: Unique id; key of the record and identity of everything made from it.
        event_time_ms: When it was shown, epoch milliseconds of the shop's clock.
        item_id: The shop's id of the item.
        item_text: Title (and more) of the item, as a reader sees it.
        query: The search text that led here; empty for a recommendation.
        user_id: Pseudonymous user; never a model input.
        history: Texts of the items the user took interest in most recently, newest first.
        position: 1-based place in the list; 0 when unknown.
        numeric: Further features by name; null means missing.
        served: Version and score it was served with, when it was served by us.
        schema_version: Version of this format; readers take every version up to their own.
    """

    impression_id: Id
    event_time_ms: EpochMs
    item_id: Annotated[str, Meta(max_length=200)]
    item_text: str
    query: str = ""
    user_id: Annotated[str, Meta(max_length=200)] = ""
    history: tuple[str, ...] = ()
    position: Annotated[int, Meta(ge=0, le=10_000)] = 0
    numeric: dict[str, float | None] = {}
    served: Served | None = None
    schema_version: int = SCHEMA_VERSION


class Click(Struct, frozen=True, kw_only=True, tag="click", tag_field="type"):
    """One click (or cart, or purchase) on one impression.

    Attributes:
        click_id: Unique id among the clicks of its impression; a second copy of it is a repeat.
        impression_id: The impression that was clicked; key of the record.
        event_time_ms: When it was clicked, epoch milliseconds of the shop's clock.
        kind: What was done.
        schema_version: Version of this format; readers take every version up to their own.
    """

    click_id: Id
    impression_id: Id
    event_time_ms: EpochMs
    kind: ClickKind = "click"
    schema_version: int = SCHEMA_VERSION


class LabeledImpression(Struct, frozen=True, kw_only=True):
    """An impression with its outcome, written when its attribution window closed.

    In early-negative mode every impression is written at once as revision 0 with label 0, and once more as revision 1
    with label 1 when its first click came.

    Attributes:
        impression: What was shown.
        label: 1 if a click came inside the window, else 0.
        kind: The strongest kind of click seen, null for label 0; in revision 1 the first click's.
        click_ids: The clicks inside the window; the first is the one that joined, the rest were further ones.
        label_due_ms: When this label could first be known: Kafka CreateTime of the impression plus the window; in
            early-negative mode CreateTime alone, and for revision 1 the event time of the click.
        revision: 0; only an early-negative mode sends revision 1.
        window_cut: True when the window was closed early at the memory bound.
        source_partition: Partition of `events` it came from, and the partition it is written to.
        source_offset: Its offset there, for revision 1 that of the record that revised it (the click's, or the
            impression's if the click came before it); with the partition, the identity of the delivery.
    """

    impression: Impression
    label: Annotated[int, Meta(ge=0, le=1)]
    label_due_ms: int
    source_partition: int
    source_offset: int
    kind: ClickKind | None = None
    click_ids: tuple[str, ...] = ()
    revision: int = 0
    window_cut: bool = False
    schema_version: int = SCHEMA_VERSION


class RoleScore(Struct, frozen=True, kw_only=True):
    """The logit z of one model version for one impression; p(click) = sigmoid(z)."""

    version: str
    z: float


class WeightedExample(Struct, frozen=True, kw_only=True):
    """A labeled impression with its scores and what it should teach: one row of `weighted-examples`.

    Attributes:
        labeled: The labeled impression.
        live: Score by the version that was live when it was scored.
        frozen: Score by the frozen version, on the share of rows that carries it.
        control: Score by the uniform control, when one runs.
        hidden_norm: L2 norm of the pooled vector fed to the head, live version.
        scored_ms: Wall clock when the live score was made.
        strategy: Name of the importance strategy.
        inclusion_probability: pi, the probability that the row is learned.
        importance_weight: w, its weight in the loss if it is learned.
        logit_offset: Added to z in the training loss only.
        mean_score: Running mean of the importance score that normalised pi; null when the strategy has none.
        mean_sigmoid: Running mean of sigmoid(z) that normalised w; null when the strategy has none.
    """

    labeled: LabeledImpression
    live: RoleScore
    hidden_norm: float
    scored_ms: int
    strategy: str
    inclusion_probability: float
    importance_weight: float
    frozen: RoleScore | None = None
    control: RoleScore | None = None
    logit_offset: float = 0.0
    mean_score: float | None = None
    mean_sigmoid: float | None = None


class GateResult(Struct, frozen=True, kw_only=True):
    """Why a candidate was promoted or held. Differences are candidate minus live on the same rows.

    `auc_detectable_harm` is the power of the judgement: the smallest loss of AUC that it would have held with a
    probability of 80 %; absent where AUC did not decide.
    """

    decision: Literal["promote", "hold", "exempt"]
    reason: str
    num_rows: int = 0
    num_clicks: int = 0
    auc_candidate: float | None = None
    auc_live: float | None = None
    auc_difference_low: float | None = None
    auc_difference_high: float | None = None
    log_loss_candidate: float | None = None
    log_loss_live: float | None = None
    calibration_candidate: float | None = None
    auc_detectable_harm: float | UnsetType | None = UNSET


class ModelRelease(Struct, frozen=True, kw_only=True):
    """The news that an alias points to a version. Key of the record: the alias.

    Attributes:
        alias: champion serves; previous is what served before; frozen is the first version after the warm start.
        version: Name of the immutable version directory.
        parent: Version it was trained from; null for the first of a model line.
        digest: sha256 of the version's manifest.
        location: Path of the version's directory in the registry, wherever a reader has that. The first releases named
            the path or file:// URI of the trainer's registry.
        reason: Why the alias moved.
        gate: The judgement that let it.
        created_ms: When it was announced.
        covered_offsets: Next offset of `weighted-examples`, by partition number, that its plans had covered.
        gaps: Stretches below these whose learning was undone, first offset and the one after the last by partition
            number; absent when there are none.
    """

    alias: Alias
    version: str
    digest: str
    location: str
    reason: Literal["initialised", "warm_started", "promoted", "rolled_back"]
    created_ms: int
    parent: str | None = None
    gate: GateResult | None = None
    covered_offsets: dict[str, int] = {}
    gaps: tuple[dict[str, tuple[int, int]], ...] | UnsetType = UNSET
    schema_version: int = SCHEMA_VERSION


_Event = TypeVar("_Event")

_ENCODER = msgspec.json.Encoder()
_EVENT_DECODER: msgspec.json.Decoder[Impression | Click] = msgspec.json.Decoder(Impression | Click)
_LABELED_DECODER = msgspec.json.Decoder(LabeledImpression)
_RELEASE_DECODER = msgspec.json.Decoder(ModelRelease)


def encode(event: Impression | Click | LabeledImpression | ModelRelease) -> bytes:
    """Return the event as JSON bytes."""
    return _ENCODER.encode(event)


def decode_event(raw: bytes | None) -> Impression | Click:
    """Return the impression or click in a record of `events`.

    Raises:
        EventError: with reason empty, oversized, malformed or unknown_version.
    """
    if not raw:
        raise EventError("empty", "the record has no value; send an impression or a click as JSON")
    if len(raw) > MAX_EVENT_BYTES:
        raise EventError("oversized", f"the event has {len(raw)} bytes, more than {MAX_EVENT_BYTES}; shorten its texts")
    event = _decode(raw, _EVENT_DECODER.decode, "an impression or a click")
    _check_version(event.schema_version)
    return event


def decode_labeled(raw: bytes | None) -> LabeledImpression:
    """Return the labeled impression in a record of `labeled-impressions`.

    Raises:
        EventError: with reason malformed or unknown_version.
    """
    labeled = _decode(raw, _LABELED_DECODER.decode, "a labeled impression")
    _check_version(labeled.schema_version)
    return labeled


def decode_release(raw: bytes | None) -> ModelRelease:
    """Return the release in a record of `model-releases`.

    Raises:
        EventError: with reason malformed or unknown_version.
    """
    release = _decode(raw, _RELEASE_DECODER.decode, "a model release")
    _check_version(release.schema_version)
    return release


def _decode(raw: bytes | None, decode: Callable[[bytes], _Event], what: str) -> _Event:
    try:
        return decoded(raw or b"", decode, what)
    except UndecodableError as error:
        raise EventError("malformed", str(error)) from error


def _check_version(version: int) -> None:
    if not 1 <= version <= SCHEMA_VERSION:
        message = f"schema_version {version} is not one of 1..{SCHEMA_VERSION}; upgrade Millstream before its producers"
        raise EventError("unknown_version", message)
