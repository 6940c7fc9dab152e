"""Impressions whose attribution window closed, remembered for a while."""

from collections import deque
from collections.abc import Iterable

from stream.events import Click


class ClosedWindows:
    """Tells late clicks from orphaned ones, and second copies from first ones.

    Args:
        memory_ms: Event time for which an impression is remembered after the end of its window.
        max_clicks: Clicks remembered on one impression; a second copy of a further one passes for a first.
    """

    def __init__(self, memory_ms: int, max_clicks: int = 1_000) -> None:
        self._memory_ms = memory_ms
        self._max_clicks = max_clicks
        self._queue: deque[tuple[int, str]] = deque()
        self._ids: set[str] = set()
        self._clicks: dict[str, set[str]] = {}

    def __contains__(self, impression_id: str) -> bool:
        return impression_id in self._ids

    def __len__(self) -> int:
        return len(self._ids)

    def add(self, impression_id: str, due_ms: int, click_ids: Iterable[str]) -> None:
        """Remember an impression by the end of its window, and the clicks that came inside it."""
        self._queue.append((due_ms, impression_id))
        self._ids.add(impression_id)
        if clicks := set(click_ids):
            self._clicks[impression_id] = clicks

    def repeats(self, click: Click) -> bool:
        """Return whether this click was seen, and remember it."""
        clicks = self._clicks.setdefault(click.impression_id, set())
        if click.click_id in clicks:
            return True
        if len(clicks) < self._max_clicks:
            clicks.add(click.click_id)
        return False

    def forget(self, watermark_ms: int) -> None:
        """Forget what closed too long before the watermark."""
        while self._queue and self._queue[0][0] < watermark_ms - self._memory_ms:
            _, impression_id = self._queue.popleft()
            self._ids.discard(impression_id)
            self._clicks.pop(impression_id, None)
