"""How far a partition's log goes, and how far it was read."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HandedOut:
    """Records of a partition that the client has handed out in this generation: from `first` to before `end`."""

    first: int
    end: int


@dataclass(frozen=True, slots=True)
class LogEnd:
    """What the client knows of a partition: how far its log goes, and how far it was handed out.

    Attributes:
        offset: End of the log, exclusive.
        stable: End of what may be read, exclusive: before the oldest transaction that is still open.
        position: Next offset the client will hand out; it also passes offsets that hold no record.
        handed_out: What it has handed out in this generation; None before the first record.
        seen_ms: Wall clock when the broker told, epoch milliseconds.
    """

    offset: int
    stable: int
    position: int
    handed_out: HandedOut | None
    seen_ms: int

    def unread(self, next_offset: int | None) -> int:
        """Return at most how many records are there to be read.

        Args:
            next_offset: Offset after the last record that was read; None if none was.
        """
        waiting = max(0, self.stable - self.position)
        if self.handed_out is not None:
            waiting += max(0, self.handed_out.end - (self.handed_out.first if next_offset is None else next_offset))
        return waiting

    def is_read(self, next_offset: int | None) -> bool:
        """Return whether nothing is left up to the end of the log, not even a transaction that is still open."""
        return self.position >= self.offset and self.unread(next_offset) == 0
