"""What the model reads of an impression, whoever brings it: the stream, a request, or the golden query."""

from collections.abc import Mapping, Sequence
from typing import Protocol


class ModelInput(Protocol):
    """One row to score or to learn from; a `stream.events.Impression` is one.

    Ids, times and users are not here: nothing that is not here can reach the model. It is a protocol and no struct, so
    that the rows of the stream need not be copied.
    """

    @property
    def query(self) -> str:
        """The search text; empty for a recommendation."""

    @property
    def item_text(self) -> str:
        """Title (and more) of the item."""

    @property
    def history(self) -> Sequence[str]:
        """Texts of the items the user took interest in, newest first."""

    @property
    def position(self) -> int:
        """1-based place in the list; 0 when unknown."""

    @property
    def numeric(self) -> Mapping[str, float | None]:
        """Further features by name; null means missing."""
