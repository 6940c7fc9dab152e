"""What a real stream carries besides good events: broken, foreign, oversized, repeated and stray records."""

from collections.abc import Iterator

import msgspec
import numpy as np

from stream.events import MAX_EVENT_BYTES, SCHEMA_VERSION, Click, Impression, encode
from stream.play.producer import EventRecord, record_of
from stream.simulator.settings import ShopSettings

REPEAT_SECONDS = 0.5
"""How long after the first copy the second one is sent."""


class Junk:
    """Draws junk records, at set shares of the impressions.

    Args:
        settings: The shares.
        run: Put before every made-up id.
    """

    def __init__(self, settings: ShopSettings, run: str) -> None:
        # A generator of its own: more junk must not change what the shop shows.
        self._rng = np.random.default_rng(np.random.SeedSequence(settings.seed).spawn(3)[2])
        self._settings = settings
        self._run = run
        self._made = 0

    def beside(self, impression: Impression) -> Iterator[EventRecord]:
        """Yield the junk that goes out together with an impression; mostly none."""
        settings = self._settings
        if self._happens(settings.malformed_share):
            yield self._undecodable("malformed", self._malformed(impression), impression)
        if self._happens(settings.unknown_version_share):
            future = msgspec.structs.replace(impression, impression_id=self._id(), schema_version=SCHEMA_VERSION + 98)
            yield self._undecodable("unknown_version", encode(future), impression)
        if self._happens(settings.oversized_share):
            endless = (impression.item_text + " ") * (MAX_EVENT_BYTES // len(impression.item_text) + 1)
            large = msgspec.structs.replace(impression, impression_id=self._id(), item_text=endless)
            yield self._undecodable("oversized", encode(large), impression)
        if self._happens(settings.orphaned_share):
            stray = Click(click_id=self._id(), impression_id=self._id(), event_time_ms=impression.event_time_ms)
            yield record_of(stray, "orphaned_click")

    def repeats(self) -> bool:
        """Draw whether a record is sent twice."""
        return self._happens(self._settings.repeated_share)

    def overtakes(self) -> bool:
        """Draw whether a click arrives before its impression."""
        return self._happens(self._settings.early_click_share)

    def _happens(self, share: float) -> bool:
        return bool(self._rng.random() < share)

    def _id(self) -> str:
        self._made += 1
        return f"{self._run}-junk-{self._made:06d}"

    def _malformed(self, impression: Impression) -> bytes:
        whole = encode(impression)
        choices = (
            whole[: len(whole) // 2],  # cut off
            whole.replace(b'"event_time_ms":', b'"event_time_ms":"yesterday","was":'),  # wrong type
            b"\xff\xfe\x00 not text",
            b"<event>click</event>",
            b'{"type":"purchase_order","id":12}',
        )
        return choices[int(self._rng.integers(len(choices)))]

    def _undecodable(self, kind: str, value: bytes, impression: Impression) -> EventRecord:
        return EventRecord(
            kind=kind,  # type: ignore[arg-type]
            key=self._id().encode(),
            value=value,
            event_time_ms=impression.event_time_ms,
        )
